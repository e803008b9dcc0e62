/**
 * Compares every image with a listing of its source: tree, attributes, xattrs, and content chunk by chunk.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  allRafsFixtures,
  fixtureOf,
  listBootstrap,
  type ListedEntry,
  MemoryImage,
  type RafsFixture,
  readFixtureBootstrap,
  readListing,
} from "../../tests/support/rafs/rafs_fixtures.ts";
import { openBootstrap } from "./open.ts";

const fixtures = allRafsFixtures();

for (const fixture of fixtures) {
  if (fixture.blobsAbsent) continue;
  Deno.test(`${fixture.name} matches its listing`, () => checkWhole(fixture));
}

Deno.test("the prefetch table lists the inodes of the requested paths", async () => {
  const bootstrap = openBootstrap(await readFixtureBootstrap(fixtureOf("v6-prefetch-fs")));
  const find = (path: string) =>
    path.split("/").reduce((dir, name) => bootstrap.lookup(dir, new TextEncoder().encode(name)), bootstrap.rootIno);
  assert.deepEqual(bootstrap.prefetch, [find("lib/mod03.txt"), find("etc"), find("lib/multi")]);
});

Deno.test("explicitUidGid tells whether an image stores ids", async () => {
  assert.equal(openBootstrap(await readFixtureBootstrap(fixtureOf("v5-repeatable"))).explicitUidGid, false);
  assert.equal(openBootstrap(await readFixtureBootstrap(fixtureOf("v6-odd-root"))).explicitUidGid, true);
});

async function checkWhole(fixture: RafsFixture): Promise<void> {
  const image = await MemoryImage.open(fixture);
  const actual = await listBootstrap(image.bootstrap, (ino, size) => image.content(ino, size));
  assert.deepEqual(actual, readListing(fixture.listing).map((entry) => asStored(fixture, entry)));
}

/** An entry of the source, without what builders do not store. */
function asStored(fixture: RafsFixture, entry: ListedEntry): ListedEntry {
  if (fixture.name.endsWith("-repeatable")) entry = { ...entry, uid: 0, gid: 0 };
  return entry.path === "/" ? { ...entry, mtime: 0, mtime_nsec: 0 } : entry;
}

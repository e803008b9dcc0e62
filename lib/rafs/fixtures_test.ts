/**
 * Every image against the listing of what it was made from: tree, attributes, xattrs, and content chunk by chunk.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  listBootstrap,
  type ListedEntry,
  listRafsFixtures,
  MemoryImage,
  RAFS_FIXTURES,
  type RafsFixture,
  readFixtureBootstrap,
  readListing,
} from "../../tests/support/rafs_fixtures.ts";
import { hasCode } from "../base/errors.ts";
import { openBootstrap } from "./open.ts";

const REFUSED = /^v6-(zran|tar-ref|tarfs|.*encrypt)/;
/** More images than the repository keeps, where they are at hand. */
const MORE_FIXTURES = join(RAFS_FIXTURES, "../../../../shared/fixtures");

const own = listRafsFixtures();
const kept = new Set(own.map((fixture) => fixture.name));
const more = listRafsFixtures(MORE_FIXTURES).filter((fixture) => !kept.has(fixture.name));

for (const fixture of [...own, ...more]) {
  if (REFUSED.test(fixture.name)) {
    Deno.test(`the data of ${fixture.name} is refused by name and its tree is read`, () => checkRefused(fixture));
  } else {
    Deno.test(`${fixture.name} holds what its listing says`, () => checkWhole(fixture));
  }
}

const namedFixture = (name: string) => own.find((fixture) => fixture.name === name) ?? assert.fail(name);

Deno.test("the prefetch table lists the inodes of the paths that were asked for", async () => {
  const bootstrap = openBootstrap(await readFixtureBootstrap(namedFixture("v6-prefetch-fs")));
  const find = (path: string) =>
    path.split("/").reduce((dir, name) => bootstrap.lookup(dir, new TextEncoder().encode(name)), bootstrap.rootIno);
  assert.deepEqual(bootstrap.prefetch, [find("lib/mod03.txt"), find("etc"), find("lib/multi")]);
});

Deno.test("an image that stores no ids says so", async () => {
  assert.equal(openBootstrap(await readFixtureBootstrap(namedFixture("v5-repeatable"))).explicitUidGid, false);
  assert.equal(openBootstrap(await readFixtureBootstrap(namedFixture("v6-odd-root"))).explicitUidGid, true);
});

async function checkWhole(fixture: RafsFixture): Promise<void> {
  const image = await MemoryImage.open(fixture);
  const actual = await listBootstrap(image.bootstrap, (ino, size) => image.content(ino, size));
  assert.deepEqual(actual, readListing(fixture.listing).map((entry) => asStored(fixture, entry)));
}

async function checkRefused(fixture: RafsFixture): Promise<void> {
  const bytes = await readFixtureBootstrap(fixture);
  assert.throws(() => openBootstrap(bytes), (error) => hasCode(error, "unsupported"));
  const actual = await listBootstrap(openBootstrap(bytes, { treeOnly: true }));
  const expected = readListing(fixture.listing).map((entry) => {
    const { sha256: _, ...rest } = asStored(fixture, entry);
    return rest;
  });
  // The builder stores long link targets of TARFS where no reader looks for them.
  const comparable = (entries: readonly ListedEntry[]) =>
    fixture.name === "v6-tarfs" ? entries.filter((entry) => (entry.target?.length ?? 0) < 512) : entries;
  assert.deepEqual(comparable(actual), comparable(expected));
}

/** What of the source a builder does not store. */
function asStored(fixture: RafsFixture, entry: ListedEntry): ListedEntry {
  if (fixture.name.endsWith("-repeatable")) entry = { ...entry, uid: 0, gid: 0 };
  return entry.path === "/" ? { ...entry, mtime: 0, mtime_nsec: 0 } : entry;
}

import assert from "node:assert/strict";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { MountableFixture } from "../../tests/support/mountable_fixture.ts";
import { listRafsFixtures } from "../../tests/support/rafs_fixtures.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { NydusGdError } from "../base/errors.ts";
import { S } from "../../ffi/sys_stat.ts";
import { walkTree } from "../rafs/walk.ts";
import { ImagePrefetch, rangesOf } from "./image_prefetch.ts";

const NAME = "v6-none-sha256-4k";
const fixture = listRafsFixtures().find(({ name }) => name === NAME);
assert.ok(fixture !== undefined);

/** Chunks that files are made of, as `blob/chunk`. */
function chunksOfFiles({ image: { tree } }: MountableFixture): Set<string> {
  const chunks = new Set<string>();
  for (const { ino, attr } of walkTree(tree)) {
    if ((attr.mode & S.IFMT) !== S.IFREG) continue;
    for (const { blobIndex, chunkIndex } of tree.extents(ino, 0, attr.size)) chunks.add(`${blobIndex}/${chunkIndex}`);
  }
  return chunks;
}

function fetchedOf({ stores }: MountableFixture): Set<string> {
  return new Set(stores.flatMap((store, index) => store.fetched.map((chunk) => `${index}/${chunk}`)));
}

Deno.test("every chunk of every file is fetched, and what is asked for at once is joined", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const expected = chunksOfFiles(mountable);
  assert.ok(expected.size > 10);
  assert.ok([...rangesOf(mountable.image)].length < expected.size);
  const run = ImagePrefetch.start(mountable.image);
  assert.equal(run.status.state, "running");
  await run.ended;
  assert.deepEqual(fetchedOf(mountable), expected);
  assert.equal(run.status.state, "complete");
  assert.equal(run.status.failures, 0);
});

Deno.test("what cannot be fetched is passed over and told", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const failing = new NydusGdError("unavailable", "Cannot fetch: registry is down");
  mountable.control.beforeFetch = (_blob, chunk) => {
    if (chunk === 0) throw failing;
  };
  const run = ImagePrefetch.start(mountable.image);
  await run.ended;
  assert.equal(run.status.state, "incomplete");
  assert.ok(run.status.failures > 0, "each piece that needs the chunk counts");
});

Deno.test("a stop ends it, and nothing of the image is used any more when it has resolved", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  mountable.control.beforeFetch = async () => {
    entered.resolve();
    await gate.promise;
  };
  const run = ImagePrefetch.start(mountable.image);
  await entered.promise;
  const stopped = run.stop();
  gate.resolve();
  await stopped;
  assert.equal(run.status.state, "stopped");
  const { size } = fetchedOf(mountable);
  assert.ok(size < chunksOfFiles(mountable).size);
});

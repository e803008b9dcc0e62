import assert from "node:assert/strict";
import fc from "fast-check";
import { checkBootstrap } from "../../../tests/support/rafs/check_bootstrap.ts";
import { allRafsFixtures, readFixtureBootstrap, SMALL_FIXTURES } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { type Bootstrap, RafsError } from "../bootstrap.ts";
import { openBootstrap } from "../open.ts";
import { INODE, SUPER } from "../v5/layout.ts";
import { BLOB, DEVICE, EXT_SUPER, EXTENDED } from "../v6/layout.ts";
import { BootstrapWriter } from "../v6/writer.ts";
import { Budget } from "./budget.ts";
import { ChunkCheck } from "./chunk_check.ts";
import { Findings } from "./findings.ts";
import { TreeCheck } from "./tree_check.ts";

const fixtures = allRafsFixtures();

const bytesOf = (name: string) =>
  readFixtureBootstrap(fixtures.find((fixture) => fixture.name === name) ?? assert.fail(name));
const inoOf = (tree: Bootstrap, path: string) =>
  path.split("/").reduce((dir, name) => tree.lookup(dir, new TextEncoder().encode(name)), tree.rootIno);

function check(bytes: Uint8Array): string[] {
  const tree = openBootstrap(bytes, { treeOnly: true });
  return checkBootstrap(bytes, tree).kept.map(({ where, state }) => `${where}: ${state}`);
}

for (const fixture of fixtures) {
  Deno.test(`${fixture.name} has no findings`, async () => {
    assert.deepEqual(check(await readFixtureBootstrap(fixture)), []);
  });
}

/** Offset of the inode of `path`. */
function placeOf(bytes: Uint8Array, path: string): number {
  const tree = openBootstrap(bytes);
  return tree.inodeRegions(inoOf(tree, path))[0]?.at ?? assert.fail();
}

Deno.test("each of several damaged places is reported", async () => {
  const bytes = await bytesOf("v6-none-sha256-4k");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(placeOf(bytes, "data/empty") + EXTENDED.nlink, 7, true);
  view.setUint32(placeOf(bytes, "data") + EXTENDED.nlink, 9, true);
  view.setUint16(placeOf(bytes, "data/chunk-exact") + EXTENDED.mode, 0o170644, true);
  view.setUint32(DEVICE.AT + DEVICE.blocks, 1, true);
  bytes[DEVICE.AT] = "z".charCodeAt(0);
  const found = check(bytes);
  assert.match(found.find((line) => line.startsWith("/data/chunk-exact: ")) ?? "", /mode is 0170644, not a file type$/);
  for (
    const line of [
      "/data/empty: its link count is 7, expected 1",
      "/data: its link count is 9, expected 2",
    ]
  ) assert.ok(found.includes(line), `${line} is not among ${found.join("\n")}`);
  assert.ok(found.some((line) => /^bootstrap: device slot 0: it names "z/.test(line)), found.join("\n"));
  assert.ok(found.some((line) => /^bootstrap: device slot 0: it has 1 blocks, the blob \d+$/.test(line)));
});

Deno.test("a refused entry does not hide the others", async () => {
  const bytes = await bytesOf("v6-none-sha256-4k");
  const names = (tree: Bootstrap) => {
    let count = 0;
    tree.readdir(inoOf(tree, "data"), 0, () => ++count > 0);
    return count;
  };
  const whole = names(openBootstrap(bytes));
  const at = bytes.findIndex((_, i) => new TextDecoder().decode(bytes.subarray(i, i + 11)) === "chunk-exact");
  assert.ok(whole > 3 && at > 0);
  bytes[at + 5] = "/".charCodeAt(0);
  const tree = openBootstrap(bytes);
  const findings = new Findings();
  const counts = new TreeCheck(tree, findings, new ChunkCheck(tree, tree.blobs, findings)).run();
  const before = await bytesOf("v6-none-sha256-4k");
  const fresh = openBootstrap(before);
  const all = new TreeCheck(fresh, new Findings(), new ChunkCheck(fresh, fresh.blobs, new Findings())).run();
  assert.equal(counts.names, all.names - 1);
  assert.ok(findings.kept.some(({ where, state }) => where === "/data" && /slash or NUL/.test(state)));
});

Deno.test("two inodes that share bytes are reported", async () => {
  const bytes = await bytesOf("v5-lz4-sha256-64k");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const table = Number(view.getBigUint64(SUPER.inodeTableOffset, true));
  const tree = openBootstrap(bytes);
  const entryOf = (path: string) => table + (inoOf(tree, path) - 1) * 4;
  view.setUint32(entryOf("data/empty"), view.getUint32(entryOf("data/chunk-exact"), true), true);
  assert.ok(check(bytes).some((line) => /its bytes at \d+ overlap those of/.test(line)));
});

Deno.test("a prefetch table with an inode without a name is reported", async () => {
  const bytes = await bytesOf("v6-prefetch-fs");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const table = Number(view.getBigUint64(EXT_SUPER.AT + EXT_SUPER.prefetchTableOffset, true));
  view.setUint32(table, 0xffff, true);
  assert.ok(check(bytes).includes("bootstrap: the prefetch table lists inode 65535, which has no name"));
});

Deno.test("a blob with fewer chunks than its files use is reported for each file", async () => {
  const bytes = await bytesOf("v6-layers-merged");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const table = Number(view.getBigUint64(EXT_SUPER.AT + EXT_SUPER.chunkTableOffset, true));
  const { blobs } = openBootstrap(bytes);
  assert.ok((blobs[0]?.chunkCount ?? 0) > 0 && BLOB.SIZE === 256);
  view.setUint32(table + 72, 0x00ff_ffff, true);
  const found = check(bytes);
  assert.ok(found.some((line) => /: chunk 16777215: the blob has \d+ chunks$/.test(line)), found.join("\n"));
  assert.ok(found.some((line) => /^\/.*: chunk \d+ of blob .*: the chunk table does not have it$/.test(line)));
});

Deno.test("v5: a hard link with a wrong parent is reported", async () => {
  const bytes = await bytesOf("v5-lz4-sha256-64k");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setBigUint64(placeOf(bytes, "data/empty") + INODE.parent, 1n, true);
  assert.ok(check(bytes).some((line) => line.startsWith("/data: RAFS v5 inode")));
});

Deno.test("findings beyond the kept ones are counted", () => {
  const findings = new Findings(2);
  for (let i = 0; i < 5; i++) findings.add("structure", "/x", String(i));
  assert.deepEqual([findings.count, findings.kept.length], [5, 2]);
});

const small = await Promise.all(SMALL_FIXTURES.map(bytesOf));

Deno.test("for any bytes a check ends with one-line findings or none", () => {
  // Most of a small bootstrap is padding: flip only bytes that are not zero.
  const spots = small.map((bytes) => [...bytes.keys()].filter((at) => bytes[at] !== 0));
  const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 6 });
  let found = 0;
  fc.assert(
    fc.property(fc.nat({ max: small.length - 1 }), flips, (index, changes) => {
      const copy = (small[index] ?? assert.fail()).slice();
      const places = spots[index] ?? [];
      for (const [nth, mask] of changes) {
        const at = places[nth % places.length] ?? 0;
        copy[at] = (copy[at] as number) ^ mask;
      }
      let lines: string[];
      try {
        lines = check(copy);
      } catch (error) {
        if (error instanceof RafsError) return; // it could not be opened
        throw error;
      }
      for (const line of lines) assert.doesNotMatch(line, /\n/);
      if (lines.length > 0) found++;
    }),
    { numRuns: 1500 },
  );
  assert.ok(found > 100);
});

const FOLDER = { mode: 0o040755, uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

Deno.test("a path longer than PATH_MAX is reported, and not followed further", () => {
  const writer = new BootstrapWriter({ chunkSize: 4096, compressor: "none", digester: "sha256" });
  let folder = writer.addInode({ ...FOLDER, nlink: 3 });
  for (let depth = 0; depth < 3000; depth++) {
    const child = writer.addInode({ ...FOLDER, nlink: depth === 2999 ? 2 : 3 });
    writer.addEntry(folder, new TextEncoder().encode("deep"), child);
    folder = child;
  }
  const found = check(writer.finish([]));
  const tooLong = found.filter((line) => /: its path has \d+ bytes, at most 4096$/.test(line));
  assert.equal(tooLong.length, 1, found.slice(0, 5).join("\n"));
});

Deno.test("exceeding a budget is reported once, and the rest is not checked", () => {
  const findings = new Findings();
  const budget = new Budget(findings, "chunks of files", 10);
  assert.deepEqual([budget.take(10), budget.take(1), budget.take(1)], [true, false, false]);
  assert.deepEqual(findings.kept.map(({ state }) => state), [
    "it has more chunks of files than its size permits; the rest is not checked",
  ]);
});

import assert from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { LearnedReads, MAX_READS } from "./learned_reads.ts";
import type { BlobRange } from "./read_coverage.ts";

const DIGEST = "5".repeat(64);
const read = (blobIndex: number, offset: number, length: number): BlobRange => ({ blobIndex, offset, length });

Deno.test("reads are kept in order, per digest, and found by the next process", async () => {
  using temp = TempDir.make();
  const reads = [read(0, 9000, 100), read(1, 0, 4096), read(0, 0, 10)];
  const learned = await LearnedReads.open(temp.join("learned"));
  assert.deepEqual(await learned.of(DIGEST), []);
  await learned.add(DIGEST, reads);
  assert.deepEqual(await (await LearnedReads.open(temp.join("learned"))).of(DIGEST), reads);
  assert.deepEqual(await learned.of("6".repeat(64)), []);
});

Deno.test("reads of later starts are appended, without duplicates, up to a limit", async () => {
  using temp = TempDir.make();
  const learned = await LearnedReads.open(temp.path);
  await Promise.all([learned.add(DIGEST, [read(0, 0, 100)]), learned.add(DIGEST, [read(0, 100, 100)])]);
  await learned.add(DIGEST, [read(0, 50, 100), read(1, 50, 100), read(0, 150, 100)]);
  const known = [read(0, 0, 100), read(0, 100, 100), read(1, 50, 100), read(0, 150, 100)];
  assert.deepEqual(await learned.of(DIGEST), known);
  await learned.add(DIGEST, Array.from({ length: MAX_READS }, (_, i) => read(2, i * 10, 5)));
  const all = await learned.of(DIGEST);
  assert.deepEqual([all.length, all.slice(0, 4)], [MAX_READS, known]);
});

Deno.test("a damaged file counts as empty, and is replaced", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  const learned = await LearnedReads.open(temp.path);
  for (
    const text of [
      "",
      "{",
      '{"version":2,"reads":[]}',
      '{"version":1,"reads":[[0,-1,5]]}',
      '{"version":1,"reads":[[0,1]]}',
    ]
  ) {
    await Deno.writeTextFile(temp.join(`${DIGEST}.json`), text);
    assert.deepEqual(await learned.of(DIGEST), [], text);
    await learned.add(DIGEST, [read(0, 0, 1)]);
    assert.deepEqual(await learned.of(DIGEST), [read(0, 0, 1)], text);
  }
});

Deno.test("an image that was used while the clock was ahead is no more recent than those used later", async () => {
  using temp = TempDir.make();
  const digest = (i: number) => i.toString(16).padStart(64, "0");
  for (let i = 0; i < 256; i++) await Deno.writeTextFile(temp.join(`${digest(i)}.json`), '{"version":1,"reads":[]}');
  const nextYear = Date.now() / 1000 + 365 * 24 * 3600;
  await Deno.utime(temp.join(`${digest(0)}.json`), nextYear, nextYear);
  const learned = await LearnedReads.open(temp.path);
  for (let i = 1; i < 256; i++) await learned.of(digest(i));
  await learned.add(digest(999), [read(0, 0, 1)]);
  const left = [...Deno.readDirSync(temp.path)].map(({ name }) => name);
  assert.deepEqual([left.length, left.includes(`${digest(0)}.json`)], [256, false]);
});

Deno.test("the least recently used images are forgotten when there are too many", async () => {
  using temp = TempDir.make();
  const learned = await LearnedReads.open(temp.path);
  const digest = (i: number) => i.toString(16).padStart(64, "0");
  for (let i = 0; i < 256; i++) {
    await Deno.writeTextFile(temp.join(`${digest(i)}.json`), '{"version":1,"reads":[[0,0,1]]}');
    await Deno.utime(temp.join(`${digest(i)}.json`), 1000 + i, 1000 + i);
  }
  assert.equal((await learned.of(digest(0))).length, 1);
  await learned.add(digest(999), [read(0, 0, 1)]);
  const left = [...Deno.readDirSync(temp.path)].map(({ name }) => name);
  assert.equal(left.length, 256);
  assert.ok(left.includes(`${digest(0)}.json`) && left.includes(`${digest(999)}.json`));
  assert.ok(!left.includes(`${digest(1)}.json`));
});

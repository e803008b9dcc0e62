import assert from "node:assert/strict";
import { knownLink } from "../../../tests/support/blob/known_link.ts";
import { allocateChunkColumns, type ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { LinkEstimate } from "./link_estimate.ts";
import { ReadAhead } from "./read_ahead.ts";

const CHUNK = 10_000;
const MIB = 1024 * 1024;

/** `count` chunks of {@link CHUNK} bytes without gaps. */
function tableOf(count: number): ChunkColumns {
  const columns = allocateChunkColumns(count, 0);
  for (let row = 0; row < count; row++) {
    columns.uncompressedOffset[row] = row * 65536;
    columns.uncompressedSize[row] = 65536;
    columns.compressedOffset[row] = row * CHUNK;
    columns.compressedSize[row] = CHUNK;
  }
  return columns;
}

const every = () => true;
/** Surroundings are not fetched. */
const without = () => false;
const rows = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

Deno.test("read-ahead is what the link carries in half a latency, up to a fifth of it before the chunk", () => {
  for (const [delayBytes, before, behind] of [[18_000, 0, 0], [75_000, 0, 3], [182_000, 1, 9]] as const) {
    const { ahead, watch } = new ReadAhead(knownLink(delayBytes), () => MIB, without).after(tableOf(100), 5, 5, every);
    assert.deepEqual([ahead, watch], [[...rows(5 - before, before), ...rows(6, behind)], undefined]);
  }
});

Deno.test("read-ahead before a chunk stops at a cached chunk", () => {
  const { ahead } = new ReadAhead(knownLink(602_000), () => MIB, without).after(
    tableOf(100),
    50,
    50,
    (row) => row !== 48,
  );
  assert.deepEqual(ahead, [49, ...rows(51, 30)]);
});

Deno.test("read-ahead of a link with high latency is limited to 25 ms of its bandwidth", () => {
  const { ahead } = new ReadAhead(knownLink(200_000, 400), () => MIB, without).after(tableOf(100), 5, 5, every);
  assert.deepEqual(ahead, rows(6, 1)); // 500 bytes per millisecond
});

Deno.test("the limit bounds the read-ahead, and 0 disables it", () => {
  assert.deepEqual(new ReadAhead(knownLink(1e6), () => 25_000, without).after(tableOf(100), 5, 5, every).ahead, [6, 7]);
  const off = new ReadAhead(knownLink(1e6), () => 0, without);
  for (const row of [5, 6, 7, 8]) {
    assert.deepEqual(off.after(tableOf(100), row, row, every), { ahead: [] });
  }
});

Deno.test("where the limit bounds the neighbours, surroundings follow, as many as the link carries in its latency", () => {
  const surroundings = (delayBytes: number, limit: number, wanted: (row: number) => boolean = every) =>
    new ReadAhead(knownLink(delayBytes), () => limit, () => true).after(tableOf(100), 5, 5, wanted).surroundings;
  assert.equal(surroundings(75_000, MIB), undefined, "the link bounds the neighbours");
  assert.deepEqual(surroundings(75_000, 25_000), rows(8, 5));
  assert.deepEqual(surroundings(2e6, 25_000), rows(8, 8), "at most four times the limit");
  assert.deepEqual(surroundings(75_000, 25_000, (row) => row !== 9), [8, 10, 11, 12]);
});

Deno.test("a reader of a confined file gets neither neighbours nor a window outside of it, but surroundings", () => {
  const ahead = new ReadAhead(knownLink(602_000), () => 25_000, () => true);
  const bytes = 65536; // of a chunk of the table
  ahead.confine(4 * bytes, 6 * bytes); // rows 4 to 9
  const outside = ahead.after(tableOf(100), 50, 50, every);
  assert.deepEqual([outside.ahead, outside.surroundings], [[51, 52], rows(53, 8)]);
  const inside = ahead.after(tableOf(100), 5, 5, every);
  assert.deepEqual([inside.ahead, inside.surroundings], [[6, 7], rows(8, 8)]);
  const atEnd = ahead.after(tableOf(100), 9, 9, every);
  assert.deepEqual([atEnd.ahead, atEnd.surroundings], [[], rows(10, 10)]);
  assert.deepEqual(ahead.after(tableOf(100), 4, 4, (row) => row !== 5).ahead, [6]);
  assert.deepEqual(ahead.after(tableOf(100), 8, 8, every).ahead, [9], "the stream that began at chunk 5");
  assert.deepEqual(ahead.after(tableOf(100), 10, 10, every).ahead[0], 11, "the file behind it");
});

Deno.test("a sequential reader has no surroundings", () => {
  const ahead = new ReadAhead(knownLink(75_000), () => 25_000, () => true);
  ahead.after(tableOf(100), 5, 5, every);
  assert.equal(ahead.after(tableOf(100), 6, 6, every).surroundings, undefined);
});

Deno.test("a sequential reader gets a window that doubles up to four times what the link carries", () => {
  const columns = tableOf(1000);
  const ahead = new ReadAhead(knownLink(80_400, 40), () => MIB, without);
  const fetched = new Set<number>();
  const windows: number[] = [];
  for (let row = 0; row < 200; row++) {
    if (fetched.has(row)) continue; // cached: the read is not observed
    const window = ahead.after(columns, row, row, (each) => !fetched.has(each)).ahead;
    for (const each of [row, ...window]) fetched.add(each);
    windows.push(window.length);
  }
  assert.deepEqual(windows.slice(0, 5), [4, 8, 16, 32, 32]);
});

Deno.test("a reader that reaches chunks being fetched keeps the window ahead of it", () => {
  const columns = tableOf(1000);
  const ahead = new ReadAhead(knownLink(80_400, 40), () => MIB, without);
  const onTheWay = new Set<number>();
  let last = 0;
  for (let row = 0; row < 100; row++) {
    const window = ahead.after(columns, row, row, (each) => !onTheWay.has(each)).ahead;
    for (const each of [row, ...window]) {
      onTheWay.add(each);
      last = Math.max(last, each);
    }
  }
  assert.ok(last > 99 + 16 && last <= 99 + 32, `${last}`);
  assert.equal(onTheWay.size, last + 1, "every chunk once");
});

Deno.test("the window of a sequential reader is refilled when half of it is used, not for each chunk", () => {
  const columns = tableOf(1000);
  const ahead = new ReadAhead(knownLink(80_400, 40), () => MIB, without);
  const onTheWay = new Set<number>();
  const lengths: number[] = [];
  for (let row = 0; row < 400; row++) {
    const window = ahead.after(columns, row, row, (each) => !onTheWay.has(each)).ahead;
    for (const each of [row, ...window]) onTheWay.add(each);
    if (window.length > 0) lengths.push(window.length);
  }
  assert.ok(lengths.slice(4).every((length) => length >= 16), lengths.join());
});

Deno.test("without a link estimate there is no read-ahead, and a window only for sequential readers", () => {
  const columns = tableOf(1000);
  const ahead = new ReadAhead(new LinkEstimate(), () => MIB, without);
  assert.deepEqual(ahead.after(columns, 0, 0, every), { ahead: [] });
  assert.deepEqual(ahead.after(columns, 500, 500, every), { ahead: [] });
  assert.deepEqual(ahead.after(columns, 1, 1, every), { ahead: rows(2, 13), watch: 8 });
});

Deno.test("a reader that is observed only in the middle of a window gets the next one in time", () => {
  const columns = tableOf(1000);
  const ahead = new ReadAhead(knownLink(80_400, 40), () => MIB, without);
  const here = new Set<number>(), watched = new Set<number>();
  let stalls = 0;
  for (let row = 0; row < 400; row++) {
    const isHere = here.has(row);
    if (isHere && !watched.delete(row)) continue;
    if (!isHere) stalls++;
    const window = ahead.after(columns, row, row, (each) => !here.has(each));
    for (const each of [row, ...window.ahead]) here.add(each);
    if (window.watch !== undefined) watched.add(window.watch);
  }
  assert.ok(stalls <= 3, `${stalls} times it ran out`);
});

Deno.test("readers at different places do not count as one sequential reader", () => {
  const ahead = new ReadAhead(knownLink(40_200), () => MIB, without);
  for (const row of [0, 500, 100, 700, 300]) {
    assert.equal(ahead.after(tableOf(1000), row, row, every).watch, undefined, `row ${row}`);
  }
  assert.deepEqual(ahead.after(tableOf(1000), 503, 503, every), { ahead: rows(504, 4), watch: 506 });
});

Deno.test("repeated reads of the same chunk cause no further read-ahead", () => {
  const ahead = new ReadAhead(knownLink(40_200), () => MIB, without);
  ahead.after(tableOf(10), 3, 3, every);
  assert.deepEqual(ahead.after(tableOf(10), 3, 3, every), { ahead: [] });
});

Deno.test("read-ahead ends at a gap in the blob and at the end of the table", () => {
  const columns = tableOf(10);
  for (let row = 5; row < 10; row++) columns.compressedOffset[row] = (columns.compressedOffset[row] as number) + MIB;
  const ahead = new ReadAhead(knownLink(2e6), () => MIB, without);
  assert.deepEqual(ahead.after(columns, 2, 2, every).ahead, [0, 1, 3, 4]);
  assert.deepEqual(ahead.after(columns, 7, 7, every).ahead, [5, 6, 8, 9]);
});

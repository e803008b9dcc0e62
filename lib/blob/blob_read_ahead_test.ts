/**
 * Read-ahead and prefetch: what is fetched, and that on-demand reads do not suffer from it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { assertCached, ensureRows, isReady, withBlob } from "../../tests/support/blob/blob_setup.ts";
import { knownLink } from "../../tests/support/blob/known_link.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { Gate } from "../../tests/support/blob/scripted_source.ts";
import { until } from "../../tests/support/until.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";

const SMALL = Array<number>(10).fill(8000);
/**
 * Half of what the link carries during the latency of a request is read ahead: four chunks of {@link SMALL} behind,
 * none before.
 */
const AHEAD = { readAheadBytes: 1024 * 1024, link: knownLink(69_000) };

Deno.test("neighbouring chunks are fetched in the request of a chunk that a reader waits for", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    await ensureRows(blob, synthetic, [2]);
    assert.deepEqual(source.reads, [{ offset: 16_000, length: 40_000, priority: "on-demand" }]);
    await ensureRows(blob, synthetic, [3, 4, 5, 6]);
    assert.equal(source.reads.length, 1);
    for (const row of [2, 3, 4, 5, 6]) await assertCached(blob, synthetic, row);
  }));

Deno.test("the on-demand listener is told of chunks that readers wait for, and of read-ahead once used", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ cache, blob, source, synthetic }) => {
    const reported: number[] = [];
    const { descriptor, records } = synthetic;
    const onDemand = ({ offset, length }: { offset: number; length: number }) =>
      reported.push(
        records.findIndex((chunk) => chunk.uncompressedOffset === offset && chunk.uncompressedSize === length),
      );
    const watched = cache.acquire({ descriptor, source, records: () => records, onDemand });
    await ensureRows(watched, synthetic, [9], "prefetch");
    await ensureRows(blob, synthetic, [0], "prefetch");
    assert.deepEqual(reported, [], "neither prefetches nor other images are reported");
    await ensureRows(watched, synthetic, [2, 3]);
    assert.deepEqual(reported, [2, 3, 4, 5, 6, 7]);
    await ensureRows(watched, synthetic, [4, 9]);
    assert.deepEqual(reported.splice(6), [8]);
  }));

Deno.test("the surroundings of a read are fetched beside it on a fast link, and not reported", () =>
  withBlob({ sizes: SMALL, cache: { ...AHEAD, readAheadBytes: 16_000, hasSurroundings: true } }, async (setup) => {
    const { cache, source, synthetic } = setup;
    const { descriptor, records } = synthetic;
    const gate = new Gate(({ priority }) => priority === "prefetch");
    source.script = gate.script;
    let reported = 0;
    const watched = cache.acquire({ descriptor, source, records: () => records, onDemand: () => reported++ });
    await ensureRows(watched, synthetic, [0]);
    await gate.arrived(1);
    assert.deepEqual(source.reads, [
      { offset: 0, length: 24_000, priority: "on-demand" },
      { offset: 24_000, length: 48_000, priority: "prefetch" },
    ]);
    assert.equal(reported, 3);
    gate.open();
    await ensureRows(watched, synthetic, [7]);
    assert.equal(source.reads.length, 2);
  }));

Deno.test("the surroundings of a read are not fetched into a cache that exceeds its limits", () => {
  const limits = { maxSize: { bytes: 1 }, minFree: { bytes: 0 } };
  const cache = { ...AHEAD, readAheadBytes: 16_000, hasSurroundings: true, limits };
  return withBlob({ sizes: SMALL, cache }, async ({ blob, source, synthetic }) => {
    await using _quiet = await quietLogs();
    await ensureRows(blob, synthetic, [9]);
    await ensureRows(blob, synthetic, [0]);
    assert.deepEqual(source.reads.map(({ priority }) => priority), ["on-demand", "on-demand"]);
  });
});

Deno.test("a read of a confined file has no neighbours outside of it", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    const { chunks } = await blob.open();
    const [start, end] = [chunks.uncompressedOffset[2], chunks.uncompressedOffset[4]] as [number, number];
    await blob.confineNeighbours(start, end - start);
    await ensureRows(blob, synthetic, [2]);
    assert.deepEqual(source.reads.map(({ length }) => length), [16_000]);
    await ensureRows(blob, synthetic, [4]);
    assert.ok((source.reads[1]?.length ?? 0) > 8000, "the file behind it is not confined");
  }));

Deno.test("a read of the watched chunk of a window starts the fetch of the next window", () =>
  withBlob({ sizes: Array<number>(60).fill(8000), cache: AHEAD }, async ({ blob, source, synthetic }) => {
    const { watched } = await blob.open();
    const watchedRows = () =>
      [...Array(60).keys()].filter((row) => ((watched[row >> 3] ?? 0) & (0x80 >> (row & 7))) !== 0);
    await ensureRows(blob, synthetic, [0]);
    assert.deepEqual(watchedRows(), [], "only a sequential reader has a window");
    await ensureRows(blob, synthetic, [5]);
    const [middle = -1, ...others] = watchedRows();
    assert.ok(middle > 5 && others.length === 0 && await isReady(blob, middle));
    const before = source.bytesRead;
    blob.reached(middle);
    await until("a request is made", () => source.bytesRead !== before);
    assert.equal(source.reads.length, 3);
    blob.reached(0);
    assert.equal(source.reads.length, 3, "a read after the watched chunk causes no request");
  }));

Deno.test("a prefetch triggers no read-ahead", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    await ensureRows(blob, synthetic, [2], "prefetch");
    assert.deepEqual(source.reads, [{ offset: 16_000, length: 8000, priority: "prefetch" }]);
  }));

Deno.test("a neighbour that cannot be fetched does not fail the requested chunk", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    source.script = ({ length }) => length > 8000 ? new NydusGdError("unavailable", "the blob was cut") : undefined;
    await ensureRows(blob, synthetic, [2]);
    assert.deepEqual(source.reads.map(({ length }) => length), [40_000, 8000]);
    await assertCached(blob, synthetic, 2);
    assert.equal(await isReady(blob, 3), false);
    await ensureRows(blob, synthetic, [3]);
    await assertCached(blob, synthetic, 3);
  }));

Deno.test("a corrupt neighbour is not cached, and fetched when it is read", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic, cache }) => {
    source.script = ({ length }, bytes) => length > 8000 ? bytes.fill(0, 8000, 8010) : undefined;
    await ensureRows(blob, synthetic, [2]);
    await assertCached(blob, synthetic, 2);
    assert.equal(await isReady(blob, 3), false);
    await ensureRows(blob, synthetic, [3]);
    await assertCached(blob, synthetic, 3);
    assert.equal(cache.stats().corruptChunks, 0);
  }));

Deno.test("a reader who aborts leaves no request behind", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    const gate = new Gate();
    source.script = gate.script;
    const stop = new AbortController();
    const reader = ensureRows(blob, synthetic, [2], "on-demand", stop.signal);
    await gate.arrived(1);
    stop.abort();
    await assert.rejects(reader, (error) => hasCode(error, "interrupted"));
    assert.equal(source.aborted, 1);
    gate.open();
    await ensureRows(blob, synthetic, [3]);
    await assertCached(blob, synthetic, 3);
  }));

Deno.test("a running prefetch is aborted for a reader, and repeated afterwards", () =>
  withBlob({ sizes: SMALL }, async ({ blob, source, synthetic }) => {
    const gate = new Gate(({ offset }) => offset === 0);
    source.script = gate.script;
    const ahead = ensureRows(blob, synthetic, [0], "prefetch");
    await gate.arrived(1);
    await ensureRows(blob, synthetic, [9]);
    assert.equal(source.aborted, 1);
    gate.open();
    await ahead;
    assert.deepEqual(source.reads.map(({ offset, priority }) => [offset / 8000, priority]), [
      [0, "prefetch"],
      [9, "on-demand"],
      [0, "prefetch"],
    ]);
    assert.equal(blob.stats().failedRequests, 0);
  }));

Deno.test("a prefetch that a reader waits for is not aborted for other readers", () =>
  withBlob({ sizes: SMALL }, async ({ blob, source, synthetic }) => {
    const gate = new Gate(({ offset }) => offset === 0);
    source.script = gate.script;
    const ahead = ensureRows(blob, synthetic, [0], "prefetch");
    await gate.arrived(1);
    const reader = ensureRows(blob, synthetic, [0]);
    await ensureRows(blob, synthetic, [9]);
    gate.open();
    await Promise.all([ahead, reader]);
    assert.deepEqual([source.aborted, source.reads.length], [0, 2]);
  }));

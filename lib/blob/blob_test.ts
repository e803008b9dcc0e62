/**
 * The contract of `Blob.ensure`, against sources that stall, fail and return wrong bytes.
 *
 * @module
 */
import assert from "node:assert/strict";
import { acquire, assertCached, ensureRows, isReady, withBlob } from "../../tests/support/blob/blob_setup.ts";
import { Gate, ScriptedSource } from "../../tests/support/blob/scripted_source.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";

const TEN = Array<number>(10).fill(20_000);
const unavailable = () => new NydusGdError("unavailable", "Cannot read blob: registry is down");

for (const compressor of ["none", "lz4_block", "gzip", "zstd"] as const) {
  for (const decodeWorkers of [0, 2]) {
    const where = decodeWorkers === 0 ? "the caller's thread" : "Workers";
    Deno.test(`${compressor} chunks are decoded in ${where}`, () =>
      withBlob({ sizes: [1, 4096, 300_000], compressor, cache: { decodeWorkers, inlineDecodeBytes: 0 } }, async (s) => {
        await ensureRows(s.blob, s.synthetic, [0, 1, 2]);
        for (const row of [0, 1, 2]) await assertCached(s.blob, s.synthetic, row);
      }));
  }
}

Deno.test("concurrent misses of a chunk share one fetch", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    const gate = new Gate();
    source.script = gate.script;
    const callers = [ensureRows(blob, synthetic, [3]), ensureRows(blob, synthetic, [3])];
    await gate.arrived(1);
    callers.push(blob.ensure(synthetic.records[3]?.uncompressedOffset ?? 0, 1, "on-demand"));
    gate.open();
    await Promise.all(callers);
    assert.equal(source.reads.length, 1);
    await assertCached(blob, synthetic, 3);
  }));

Deno.test("neighbouring chunks are one request, also for separate callers of the same turn", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    await Promise.all([ensureRows(blob, synthetic, [6, 7]), ensureRows(blob, synthetic, [4, 5])]);
    assert.deepEqual(source.reads, [{ offset: 80_000, length: 80_000, priority: "on-demand" }]);
    for (const row of [4, 5, 6, 7]) await assertCached(blob, synthetic, row);
    assert.equal(await isReady(blob, 8), false);
  }));

Deno.test("only missing chunks are fetched, and gaps of at most a tenth of the request with them", () =>
  withBlob({ sizes: [20_000, 20_000, 1_000, 20_000, 20_000, 9_000, 20_000] }, async ({ blob, source, synthetic }) => {
    await ensureRows(blob, synthetic, [2]);
    await ensureRows(blob, synthetic, [5]);
    source.reads.length = 0;
    await ensureRows(blob, synthetic, [0, 6]);
    assert.deepEqual(
      source.reads.map(({ offset, length }) => [offset, length]).sort((a, b) => Number(a[0]) - Number(b[0])),
      [
        [0, 81_000],
        [90_000, 20_000],
      ],
    );
    assert.ok(source.bytesRead <= 1.1 * 100_000);
  }));

Deno.test("a long range is split into requests of the maximum size", () =>
  withBlob({ sizes: TEN, cache: { maxRequestBytes: 65_000 } }, async ({ blob, source, synthetic }) => {
    await ensureRows(blob, synthetic, [0, 9]);
    assert.deepEqual(source.reads.map(({ length }) => length), [60_000, 60_000, 60_000, 20_000]);
  }));

Deno.test("ready chunks and ranges without chunks cause no request", () =>
  withBlob({ sizes: [100, 100] }, async ({ blob, source, synthetic }) => {
    await ensureRows(blob, synthetic, [0, 1]);
    source.script = unavailable;
    await ensureRows(blob, synthetic, [0, 1]);
    await blob.ensure(200, 3000, "on-demand");
    await blob.ensure(1 << 30, 4096, "on-demand");
    assert.equal(source.reads.length, 1);
  }));

Deno.test("on-demand reads precede queued prefetches, and a prefetch that a reader needs is promoted", () =>
  withBlob({ sizes: TEN, cache: { parallelRequests: 1, parallelPrefetch: 1 } }, async ({ blob, source, synthetic }) => {
    const gate = new Gate(({ offset }) => offset === 0);
    source.script = gate.script;
    const ahead = [0, 2, 4, 6].map((row) => ensureRows(blob, synthetic, [row], "prefetch"));
    await gate.arrived(1);
    const readers = [ensureRows(blob, synthetic, [8]), ensureRows(blob, synthetic, [4])];
    gate.open();
    await Promise.all([...ahead, ...readers]);
    assert.deepEqual(source.reads.map(({ offset, priority }) => [offset / 20_000, priority]), [
      [0, "prefetch"],
      [8, "on-demand"],
      [4, "on-demand"],
      [2, "prefetch"],
      [6, "prefetch"],
    ]);
  }));

Deno.test("a prefetched neighbour is not merged into an on-demand request", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    await Promise.all([ensureRows(blob, synthetic, [1, 3], "prefetch"), ensureRows(blob, synthetic, [4])]);
    assert.deepEqual(source.reads, [
      { offset: 80_000, length: 20_000, priority: "on-demand" },
      { offset: 20_000, length: 60_000, priority: "prefetch" },
    ]);
  }));

Deno.test("a failed fetch fails only its range, and is retried by the next call", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    source.script = ({ offset }) => offset === 100_000 ? unavailable() : undefined;
    const bad = ensureRows(blob, synthetic, [5]);
    const good = ensureRows(blob, synthetic, [1]);
    await assert.rejects(bad, (error) => hasCode(error, "unavailable"));
    await good;
    source.script = () => undefined;
    await ensureRows(blob, synthetic, [5]);
    await assertCached(blob, synthetic, 5);
  }));

Deno.test("a range that the source cannot read does not affect neighbours in its request", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    source.script = ({ offset, length }) =>
      offset + length > 140_000 ? new NydusGdError("io", "Cannot read blob: it ends at 140000") : undefined;
    const rows = [5, 6, 7].map((row) => ensureRows(blob, synthetic, [row]));
    const ends = await Promise.allSettled(rows);
    assert.deepEqual(ends.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected"]);
    await assertCached(blob, synthetic, 6);
    assert.equal(await isReady(blob, 7), false);
  }));

Deno.test("a response of the wrong length is an error and none of it is used", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    source.script = (_read, bytes) => bytes.slice(0, -1);
    await assert.rejects(
      ensureRows(blob, synthetic, [0]),
      /Cannot read scripted source: received 19999 of 20000 bytes at 0/,
    );
    assert.equal(await isReady(blob, 0), false);
  }));

Deno.test("a chunk with wrong bytes is fetched a second time", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    source.script = (_read, bytes) => source.reads.length === 1 ? flipped(bytes, 25_000) : undefined;
    await ensureRows(blob, synthetic, [0, 3]);
    assert.deepEqual(source.reads.map(({ offset, length }) => [offset, length]), [[0, 80_000], [20_000, 20_000]]);
    for (const row of [0, 1, 2, 3]) await assertCached(blob, synthetic, row);
  }));

for (const compressor of ["none", "lz4_block", "gzip", "zstd"] as const) {
  Deno.test(`a ${compressor} chunk that stays wrong is corrupt, not cached, and fails no neighbour`, () =>
    withBlob({ sizes: TEN, compressor }, async ({ blob, cache, source, synthetic }) => {
      const { compressedOffset: at = 0 } = synthetic.records[1] ?? {};
      source.script = ({ offset }, bytes) =>
        offset <= at && at < offset + bytes.length ? flipped(bytes, at + 20 - offset) : undefined;
      const ends = await Promise.allSettled([0, 1, 2].map((row) => ensureRows(blob, synthetic, [row])));
      assert.deepEqual(ends.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
      assert.ok(ends[1]?.status === "rejected" && hasCode(ends[1].reason, "corrupt"));
      assert.match(ends[1].reason.message, /^Cannot read chunk 1 of blob synthetic: /);
      assert.equal(source.reads.length, 2);
      assert.equal(await isReady(blob, 1), false);
      assert.equal(cache.stats().corruptChunks, 1);
      await cache.flush();
      source.script = () => undefined;
      await ensureRows(blob, synthetic, [1]);
      await assertCached(blob, synthetic, 1);
    }));
}

Deno.test("a caller that aborts does not abort the fetch of others", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    const gate = new Gate();
    source.script = gate.script;
    const leaving = new AbortController();
    const gone = ensureRows(blob, synthetic, [0], "on-demand", leaving.signal);
    const staying = ensureRows(blob, synthetic, [0]);
    await gate.arrived(1);
    leaving.abort();
    await assert.rejects(gone, (error) => hasCode(error, "interrupted"));
    gate.open();
    await staying;
    assert.equal(source.aborted, 0);
    assert.equal(source.reads.length, 1);
  }));

Deno.test("a fetch without waiters is aborted, and a later caller starts its own", () =>
  withBlob({ sizes: TEN }, async ({ blob, source, synthetic }) => {
    const gate = new Gate(() => source.reads.length === 1);
    source.script = gate.script;
    const leaving = new AbortController();
    const gone = ensureRows(blob, synthetic, [0], "on-demand", leaving.signal);
    await gate.arrived(1);
    leaving.abort();
    await assert.rejects(gone, (error) => hasCode(error, "interrupted"));
    await ensureRows(blob, synthetic, [0]);
    assert.equal(source.aborted, 1);
    assert.equal(source.reads.length, 2);
  }));

Deno.test("a queued fetch without waiters is never made", () =>
  withBlob({ sizes: TEN, cache: { parallelRequests: 1 } }, async ({ blob, source, synthetic }) => {
    const gate = new Gate();
    source.script = gate.script;
    const first = ensureRows(blob, synthetic, [0]);
    await gate.arrived(1);
    const leaving = new AbortController();
    const gone = ensureRows(blob, synthetic, [5], "on-demand", leaving.signal);
    await Promise.resolve();
    leaving.abort();
    await assert.rejects(gone, (error) => hasCode(error, "interrupted"));
    gate.open();
    await first;
    await ensureRows(blob, synthetic, [7]);
    assert.deepEqual(source.reads.map(({ offset }) => offset / 20_000), [0, 7]);
  }));

Deno.test("a chunk without a known digest is not readable", () =>
  withBlob({ sizes: TEN }, async ({ cache, synthetic, source }) => {
    const records = synthetic.records.map((record) => ({ ...record, digest: new Uint8Array(32) }));
    const blob = acquire(cache, { ...synthetic, records }, source);
    await assert.rejects(ensureRows(blob, synthetic, [0]), (error) => hasCode(error, "invalid-image"));
    assert.equal(source.reads.length, 0);
  }));

Deno.test("another source of the same blob is used when the first fails or returns wrong bytes", () =>
  withBlob({ sizes: TEN }, async ({ cache, blob, source, synthetic }) => {
    const second = new ScriptedSource(synthetic.bytes, "second source");
    const other = acquire(cache, synthetic, second);
    source.script = unavailable;
    await ensureRows(blob, synthetic, [0]);
    await cache.release(other);
    await assert.rejects(ensureRows(blob, synthetic, [1]), (error) => hasCode(error, "unavailable"));
    acquire(cache, synthetic, second);
    source.script = (_read, bytes) => flipped(bytes, 0);
    await ensureRows(blob, synthetic, [1]);
    await assertCached(blob, synthetic, 1);
  }));

Deno.test("closing the cache makes running reads fail as interrupted", () =>
  withBlob({ sizes: TEN, cache: { parallelRequests: 1 } }, async ({ cache, blob, source, synthetic }) => {
    const gate = new Gate();
    source.script = gate.script;
    const reads = [ensureRows(blob, synthetic, [0]), ensureRows(blob, synthetic, [5])];
    const ends = Promise.allSettled(reads);
    await gate.arrived(1);
    await cache.close();
    for (const end of await ends) assert.ok(end.status === "rejected" && hasCode(end.reason, "interrupted"));
  }));

function flipped(bytes: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 0x55;
  return copy;
}

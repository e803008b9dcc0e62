import assert from "node:assert/strict";
import { ensureRows, withBlob } from "../../tests/support/blob/blob_setup.ts";
import { Gate } from "../../tests/support/blob/scripted_source.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import { prefetch } from "./prefetch.ts";

const TEN = Array<number>(10).fill(4096);
const never = new AbortController().signal;
const ranges = (store: Parameters<typeof ensureRows>[0], ...rows: number[]) =>
  rows.map((row) => ({ store, offset: row * 4096, length: 4096 }));

Deno.test("ranges are prefetched in order, long ones in pieces", () =>
  withBlob({ sizes: TEN }, async ({ blob, source }) => {
    const wanted = [{ store: blob, offset: 7 * 4096, length: 4096 }, { store: blob, offset: 0, length: 3 * 4096 }];
    const result = await prefetch(wanted, { signal: never, concurrency: 1, pieceBytes: 4096 });
    assert.deepEqual(source.reads.map(({ offset, priority }) => [offset / 4096, priority]), [
      [7, "prefetch"],
      [0, "prefetch"],
      [1, "prefetch"],
      [2, "prefetch"],
    ]);
    assert.deepEqual(result, { readyBytes: 4 * 4096, failures: 0, complete: true });
  }));

Deno.test("a range that fails is skipped", () =>
  withBlob({ sizes: TEN }, async ({ blob, source }) => {
    source.script = ({ offset }) => offset === 4096 ? new NydusGdError("unavailable", "no") : undefined;
    const result = await prefetch(ranges(blob, 0, 1, 2), { signal: never, concurrency: 1 });
    assert.deepEqual(result, { readyBytes: 2 * 4096, failures: 1, complete: true });
  }));

Deno.test("a prefetch is given up after too many failures", () =>
  withBlob({ sizes: TEN }, async ({ blob, source }) => {
    source.script = () => new NydusGdError("unavailable", "no");
    const result = await prefetch(ranges(blob, ...TEN.keys()), { signal: never, concurrency: 1 });
    assert.deepEqual(result, { readyBytes: 0, failures: 8, complete: false });
    assert.equal(source.reads.length, 8);
  }));

Deno.test("readers are served during a prefetch, and stopping it leaves no running request", () =>
  withBlob({ sizes: TEN, cache: { parallelPrefetch: 1 } }, async ({ blob, source, synthetic }) => {
    const gate = new Gate(({ priority }) => priority === "prefetch");
    source.script = gate.script;
    const stop = new AbortController();
    const ahead = prefetch(ranges(blob, 0, 1, 2, 3), { signal: stop.signal, concurrency: 1 });
    const stopped = assert.rejects(ahead, (error) => hasCode(error, "interrupted"));
    await gate.arrived(1);
    await ensureRows(blob, synthetic, [9]);
    stop.abort();
    await stopped;
    assert.deepEqual(source.reads.map(({ offset }) => offset / 4096), [0, 9]);
    assert.equal(source.aborted, 1);
  }));

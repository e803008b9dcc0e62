/**
 * Use of a response while it arrives.
 *
 * @module
 */
import assert from "node:assert/strict";
import { assertCached, ensureRows, isReady, withBlob } from "../../../tests/support/blob/blob_setup.ts";
import { knownLink } from "../../../tests/support/blob/known_link.ts";
import { until } from "../../../tests/support/until.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";

const SIZE = 8000;
const SMALL = Array<number>(10).fill(SIZE);
/** Some of {@link SMALL} are fetched along with one that a reader waits for. */
const AHEAD = { readAheadBytes: 1024 * 1024, link: knownLink(46_000) };

Deno.test("a chunk is ready as soon as its bytes have arrived, before the rest of the response", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    const rest = Promise.withResolvers<undefined>();
    source.script = ({ length }, bytes, grow) => {
      assert.ok(length >= 3 * SIZE);
      grow(bytes, SIZE - 1);
      grow(bytes, SIZE + 1);
      return rest.promise;
    };
    await ensureRows(blob, synthetic, [2]);
    await assertCached(blob, synthetic, 2);
    assert.equal(await isReady(blob, 3), false);
    const next = ensureRows(blob, synthetic, [3]);
    rest.resolve(undefined);
    await next;
    await assertCached(blob, synthetic, 3);
    assert.equal(source.reads.length, 1);
  }));

Deno.test("a prefetch response is processed in pieces of half a MiB while it arrives", () => {
  const sizes = Array<number>(8).fill(200_000);
  return withBlob({ sizes, cache: { link: knownLink(1e7) } }, async ({ blob, source, synthetic }) => {
    source.script = async (_read, bytes, grow) => {
      grow(bytes, 500_000);
      grow(bytes, 700_000);
      await until("the first chunk is ready", () => isReady(blob, 0));
      assert.deepEqual(await Promise.all([1, 2, 3].map((row) => isReady(blob, row))), [true, true, false]);
      return undefined;
    };
    await ensureRows(blob, synthetic, [0, 4], "prefetch");
    assert.equal(source.reads.length, 1);
    for (const row of [0, 1, 2, 3, 4]) await assertCached(blob, synthetic, row);
  });
});

Deno.test("chunks that arrived before a response fails are kept", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    source.script = (_read, bytes, grow) => {
      grow(bytes, SIZE);
      return new NydusGdError("unavailable", "Cannot read blob: the connection was lost");
    };
    await ensureRows(blob, synthetic, [2]);
    await assertCached(blob, synthetic, 2);
    await assert.rejects(ensureRows(blob, synthetic, [9]), (error) => hasCode(error, "unavailable"));
  }));

Deno.test("a chunk that arrives corrupt is fetched again after the response has ended", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    const rest = Promise.withResolvers<undefined>();
    source.script = (_read, bytes, grow) => {
      if (source.reads.length > 1) return undefined;
      bytes[10] = (bytes[10] ?? 0) ^ 1;
      grow(bytes, SIZE);
      return rest.promise;
    };
    const reader = ensureRows(blob, synthetic, [2]);
    await ensureRows(blob, synthetic, [9]);
    assert.deepEqual(source.reads.map(({ offset }) => offset / SIZE), [2, 9]);
    rest.resolve(undefined);
    await reader;
    assert.deepEqual(source.reads.map(({ offset, length }) => [offset / SIZE, length / SIZE]).at(-1), [2, 1]);
    await assertCached(blob, synthetic, 2);
  }));

Deno.test("progress of a retried request starts again at zero", () =>
  withBlob({ sizes: SMALL, cache: AHEAD }, async ({ blob, source, synthetic }) => {
    source.script = (_read, bytes, grow) => {
      const lost = new Uint8Array(bytes.length);
      grow(lost, SIZE - 1);
      grow(bytes, SIZE - 1);
      grow(bytes, 2 * SIZE);
      return undefined;
    };
    await ensureRows(blob, synthetic, [2]);
    for (const row of [2, 3]) await assertCached(blob, synthetic, row);
  }));

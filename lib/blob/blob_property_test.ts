/**
 * Whatever readers, sources and restarts do: ready chunks are right, and failed ones can be read later.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { acquire, assertCached, ensureRows, isReady, QUIET } from "../../tests/support/blob/blob_setup.ts";
import { ScriptedSource } from "../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob } from "../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { turn } from "../../tests/support/until.ts";
import { NydusGdError } from "../base/errors.ts";
import { BlobCache } from "./blob_cache.ts";

const CHUNKS = 12;

const operation = fc.record({
  rows: fc.tuple(fc.nat(CHUNKS - 1), fc.nat(CHUNKS - 1)),
  priority: fc.constantFrom("on-demand" as const, "prefetch" as const),
  /** Turns of the event loop after which the caller gives up. */
  givesUpAfter: fc.option(fc.nat(3), { nil: undefined }),
  /** Whether to await it before the next operation. */
  waits: fc.boolean(),
});

const answer = fc.record({
  kind: fc.constantFrom("right", "right", "late", "unavailable", "io", "cut", "flipped"),
  /** Eighths of the response that arrive, each in its own turn, before it is complete. */
  growth: fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 3 }),
});

Deno.test("ready chunks are right and failed ones can be retried, under faults, aborts and restarts", async () => {
  const synthetic = await makeSyntheticBlob({
    sizes: Array.from({ length: CHUNKS }, (_, i) => 500 + 1700 * (i % 5)),
    compressor: "zstd",
    gap: 100,
  });
  const lives = fc.array(fc.tuple(fc.array(operation, { maxLength: 8 }), fc.array(answer)), {
    minLength: 1,
    maxLength: 3,
  });
  await fc.assert(
    fc.asyncProperty(lives, async (script) => {
      using dir = TempDir.make();
      for (const [operations, answers] of script) {
        await using cache = BlobCache.open(dir.path, { ...QUIET, parallelRequests: 2, maxRequestBytes: 8000 });
        const source = new ScriptedSource(synthetic.bytes);
        let next = 0;
        source.script = async (_read, bytes, grow) => {
          const { kind = "right", growth = [] } = answers[next++] ?? {};
          const flipped = bytes.map((byte, i) => i === bytes.length >> 1 ? byte ^ 0x20 : byte);
          for (const part of growth.toSorted()) {
            grow(kind === "flipped" ? flipped : bytes, bytes.length * part >> 3);
            await turn();
          }
          switch (kind) {
            case "late":
              await turn();
              return undefined;
            case "unavailable":
            case "io":
              return new NydusGdError(kind, "Cannot read blob: no");
            case "cut":
              return bytes.subarray(1);
            case "flipped":
              return flipped;
            default:
              return undefined;
          }
        };
        const blob = acquire(cache, synthetic, source);
        const running = operations.map(async ({ rows, priority, givesUpAfter }) => {
          const leaving = new AbortController();
          const asked = ensureRows(blob, synthetic, rows, priority, leaving.signal);
          const outcome = asked.then(() => undefined, (error) => error);
          if (givesUpAfter !== undefined) {
            for (let turn = 0; turn < givesUpAfter; turn++) await Promise.resolve();
            leaving.abort();
          }
          const error = await outcome;
          if (error !== undefined) return assert.ok(error instanceof NydusGdError, String(error));
          for (let row = Math.min(...rows); row <= Math.max(...rows); row++) assert.ok(await isReady(blob, row));
        });
        for (const [i, { waits }] of operations.entries()) if (waits) await running[i];
        await Promise.all(running);
        for (let row = 0; row < CHUNKS; row++) if (await isReady(blob, row)) await assertCached(blob, synthetic, row);
        source.script = () => undefined;
        await ensureRows(blob, synthetic, [0, CHUNKS - 1]);
        for (let row = 0; row < CHUNKS; row++) await assertCached(blob, synthetic, row);
        const lost = ["synthetic.blob.data.chunk_map", "synthetic.blob.verified", undefined][answers.length % 3];
        if (lost !== undefined) Deno.removeSync(`${dir.path}/${lost}`);
      }
    }),
    { numRuns: 60 },
  );
});

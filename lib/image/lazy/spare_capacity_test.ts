import assert from "node:assert/strict";
import { hasCode } from "../../base/errors.ts";
import { SpareCapacity } from "./spare_capacity.ts";

/** A capacity whose processors are as scarce as told. */
function capacity(isScarce: boolean): SpareCapacity {
  return new SpareCapacity({
    whenQuiet: () => Promise.resolve(),
    crowding: { isCrowded: () => isScarce, [Symbol.dispose]: () => {} },
  });
}

async function waited(isScarce: boolean): Promise<number> {
  using spare = capacity(isScarce);
  const startedAt = performance.now();
  await spare.wait(0, new AbortController().signal);
  return performance.now() - startedAt;
}

Deno.test("a break is taken while the processors are scarce", async () => {
  assert.ok(await waited(false) < 150);
  assert.ok(await waited(true) >= 190);
});

Deno.test("a break ends when the prefetch is stopped", async () => {
  using spare = capacity(true);
  const stop = new AbortController();
  const wait = spare.wait(0, stop.signal);
  stop.abort();
  await assert.rejects(wait, (error) => hasCode(error, "interrupted"));
});

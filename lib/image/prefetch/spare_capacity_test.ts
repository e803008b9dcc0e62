import assert from "node:assert/strict";
import { turn } from "../../../tests/support/until.ts";
import { hasCode } from "../../base/errors.ts";
import { SpareCapacity } from "./spare_capacity.ts";

/** A capacity whose processors are as scarce as told. */
function capacity(isScarce: boolean): SpareCapacity {
  return new SpareCapacity({
    whenQuiet: () => Promise.resolve(),
    crowding: { isCrowded: () => isScarce, [Symbol.dispose]: () => {} },
  });
}

Deno.test("a break is taken while the processors are scarce", async () => {
  using scarce = capacity(true);
  const startedAt = performance.now();
  await scarce.wait(0, new AbortController().signal);
  assert.ok(performance.now() - startedAt >= 190);
});

Deno.test("no break is taken while there are processors", async () => {
  using plenty = capacity(false);
  const late = turn();
  const first = plenty.wait(0, new AbortController().signal).then(() => "no break");
  assert.equal(await Promise.race([first, late]), "no break");
  await late;
});

Deno.test("a break ends when the prefetch is stopped", async () => {
  using spare = capacity(true);
  const stop = new AbortController();
  const wait = spare.wait(0, stop.signal);
  stop.abort();
  await assert.rejects(wait, (error) => hasCode(error, "interrupted"));
});

import assert from "node:assert/strict";
import { NydusGdError } from "../base/errors.ts";
import { type Check, ok, perform } from "./check.ts";

const { signal } = new AbortController();

function check(run: Check["run"], timeoutMs?: number): Check {
  return { group: "g", name: "n", run, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

Deno.test("the result of a check is reported with its name", async () => {
  assert.deepEqual(await perform(check(() => ok("fine")), signal), {
    group: "g",
    name: "n",
    verdict: "ok",
    seen: "fine",
  });
});

Deno.test("an error thrown by a check is a failure with its hint", async () => {
  const refuse = () => {
    throw new NydusGdError("environment", "Cannot x: y", { hint: "modprobe z" });
  };
  const { verdict, seen, mend } = await perform(check(refuse), signal);
  assert.deepEqual([verdict, seen, mend], ["fail", "Cannot x: y", "modprobe z"]);
});

Deno.test("a check that exceeds its time has failed, and its cleanup is awaited", async () => {
  let cleaned = false;
  const slow = async (given: AbortSignal) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    given.addEventListener("abort", () => resolve());
    await promise;
    cleaned = true;
    return ok("too late");
  };
  const { verdict, seen } = await perform(check(slow, 1), signal);
  assert.deepEqual([verdict, seen, cleaned], ["fail", "no answer within 0.001 s", true]);
});

Deno.test("an interrupted check is not a finding", async () => {
  const controller = new AbortController();
  const reason = new NydusGdError("interrupted", "Cannot finish: interrupted by SIGINT");
  const run = (given: AbortSignal) => {
    controller.abort(reason);
    given.throwIfAborted();
    return ok("not reached");
  };
  await assert.rejects(perform(check(run), controller.signal), reason);
});

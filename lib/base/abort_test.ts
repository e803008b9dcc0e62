import assert from "node:assert/strict";
import { atMost, Deadline, delay, interruption, unlessAborted } from "./abort.ts";
import { NydusGdError } from "./errors.ts";

const timeoutError = () => new NydusGdError("unavailable", "Cannot wait: the time is over");

Deno.test("a deadline aborts a wait with its own reason", async () => {
  using deadline = new Deadline(1, undefined, timeoutError);
  await assert.rejects(unlessAborted(new Promise<never>(() => {}), deadline.signal), timeoutError());
});

Deno.test("a deadline aborts with its parent, for the parent's reason", () => {
  const parent = new AbortController();
  const reason = new NydusGdError("interrupted", "Cannot continue: stopped");
  using before = new Deadline(60_000, parent.signal, timeoutError);
  parent.abort(reason);
  using after = new Deadline(60_000, parent.signal, timeoutError);
  for (const { signal } of [before, after]) assert.equal(interruption(signal), reason);
});

Deno.test("a disposed deadline never aborts", () => {
  const parent = new AbortController();
  const deadline = new Deadline(60_000, parent.signal, timeoutError);
  deadline[Symbol.dispose]();
  parent.abort();
  assert.equal(deadline.signal.aborted, false);
});

Deno.test("a delay takes its time, and ends early with the reason of an abort", async () => {
  const stop = new AbortController();
  const startedAt = performance.now();
  await delay(20, stop.signal);
  assert.ok(performance.now() - startedAt >= 19);
  const long = delay(60_000, stop.signal);
  stop.abort(timeoutError());
  await assert.rejects(long, timeoutError());
  await assert.rejects(delay(60_000, stop.signal), timeoutError());
});

Deno.test("a wait that is limited gives the result, the error, or nothing when the time is over", async () => {
  assert.equal(await atMost(60_000, Promise.resolve(7)), 7);
  await assert.rejects(atMost(60_000, Promise.reject(timeoutError())), timeoutError());
  assert.equal(await atMost(1, new Promise<number>(() => {})), undefined);
});

import type { LogRecord } from "@logtape/logtape";
import assert, { rejects } from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { parseRetryAfter, pauseBefore, whileTransient, withRetries } from "./retry.ts";
import { TransferError } from "./transfer_error.ts";

Deno.test("retry pauses double, are randomised, and stay within their bound whatever Retry-After says", () => {
  assert.deepEqual([1, 2, 3].map((attempt) => pauseBefore(attempt, undefined, () => 0.5)), [100, 200, 400]);
  assert.equal(pauseBefore(1, undefined, () => 0), 50);
  assert.deepEqual([0, 0.5, 1].map((random) => pauseBefore(1, 2_000, () => random)), [2_000, 2_500, 3_000]);
  assert.equal(pauseBefore(1, 3_600_000, () => 0.5), 10_000);
  assert.equal(pauseBefore(60, undefined, () => 0.5), 10_000);
});

Deno.test("a wait that a server asks for is logged once, and pauses end with their time", async () => {
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  for (const [retries, pausesTimeoutMs, attempts] of [[9, 30, 2], [0, 30, 1]] as const) {
    let seen = 0;
    const refused = withRetries({ retries, pausesTimeoutMs, patienceMs: 0 }, undefined, () => {
      seen++;
      const details = { prospect: "transient", retryAfterMs: 3_600_000 } as const;
      return Promise.reject(new TransferError("unavailable", "HTTP 429 from registry.test", details));
    });
    await rejects(refused, { state: "HTTP 429 from registry.test" });
    assert.equal(seen, attempts);
  }
  assert.deepEqual(warnings.map(({ properties }) => properties), [
    { error: "HTTP 429 from registry.test", seconds: 3600 },
  ]);
});

Deno.test("of waits that servers ask for, those that were logged last are remembered", async () => {
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  const waitFor = async (server: number) => {
    const details = { prospect: "transient", retryAfterMs: 2_000 } as const;
    const refusal = new TransferError("unavailable", `HTTP 429 from registry-${server}.test`, details);
    const limits = { retries: 1, pausesTimeoutMs: 1, patienceMs: 0 };
    await rejects(withRetries(limits, undefined, () => Promise.reject(refusal)), refusal);
  };
  const servers = Array.from({ length: 1001 }, (_, server) => server);
  await Promise.all(servers.map(waitFor));
  assert.equal(warnings.length, 1001);
  await waitFor(1000);
  assert.equal(warnings.length, 1001);
  await waitFor(0);
  assert.equal(warnings.length, 1002);
});

Deno.test("with patience, a server that is away is asked again, and one that refuses is not", async () => {
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  const limits = { retries: 0, pausesTimeoutMs: 10, patienceMs: 3_600_000 };
  const attemptsAt = async (status: number | undefined) => {
    let seen = 0;
    const details = { prospect: "transient", ...(status === undefined ? {} : { status }) } as const;
    const refusal = new TransferError("unavailable", `status ${status}`, details);
    await rejects(withRetries(limits, undefined, () => Promise.reject((seen++, refusal))), refusal);
    return seen;
  };
  assert.deepEqual([await attemptsAt(undefined), await attemptsAt(503), await attemptsAt(404)], [2, 2, 1]);
  assert.deepEqual(warnings.map(({ properties }) => properties), [
    { error: "status undefined", seconds: 3600 },
    { error: "status 503", seconds: 3600 },
  ]);
});

Deno.test("what waits for a server that fails learns its failure, at once if it is permanent", async () => {
  const failing = (prospect: "transient" | "permanent", state: string) =>
    Promise.reject(new TransferError("unavailable", state, { prospect }));
  const gone = whileTransient(new AbortController().signal, () => failing("permanent", "gone"));
  await rejects(gone, { state: "gone" });
  const time = new AbortController();
  const down = whileTransient(time.signal, () => {
    queueMicrotask(() => time.abort(new Error("too late")));
    return failing("transient", "down");
  });
  await rejects(down, { state: "down" });
});

Deno.test("Retry-After is parsed as seconds or as a date", () => {
  assert.equal(parseRetryAfter("7"), 7_000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 4_000), 6_000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 40_000), 0);
  assert.equal(parseRetryAfter("soon"), undefined);
  assert.equal(parseRetryAfter(undefined), undefined);
});

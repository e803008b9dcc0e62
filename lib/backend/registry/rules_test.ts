import type { LogRecord } from "@logtape/logtape";
import assert, { rejects } from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { parseContentRange } from "../http/content_range.ts";
import { isLoopback } from "../http/loopback.ts";
import { Endpoint } from "./endpoint.ts";
import { locationLifetimeMs } from "./location_lifetime.ts";
import { parseRetryAfter, pauseBefore, whileTransient, withRetries } from "../http/retry.ts";
import { TransferError } from "../http/transfer_error.ts";

Deno.test("Content-Range is parsed, and refused if it contradicts itself", () => {
  assert.deepEqual(parseContentRange("bytes 0-65535/1048576"), { first: 0, last: 65535, total: 1048576 });
  assert.deepEqual(parseContentRange(" Bytes 5-5/* "), { first: 5, last: 5, total: undefined });
  for (
    const wrong of ["", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "items 0-1/2", "bytes 0-1/2,", "bytes -1-2/3"]
  ) {
    assert.equal(parseContentRange(wrong), undefined, wrong);
  }
});

Deno.test("retry pauses double, are randomised, and stay within their bound whatever Retry-After says", () => {
  assert.deepEqual([1, 2, 3].map((attempt) => pauseBefore(attempt, undefined, () => 0.5)), [100, 200, 400]);
  assert.equal(pauseBefore(1, undefined, () => 0), 50);
  assert.equal(pauseBefore(1, 2_000, () => 0.5), 2_000);
  assert.equal(pauseBefore(1, 3_600_000, () => 0.5), 10_000);
  assert.equal(pauseBefore(60, undefined, () => 0.5), 10_000);
});

Deno.test("a wait that a server asks for is logged once, and pauses end with their time", async () => {
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  for (const [retries, pausesTimeoutMs, attempts] of [[9, 30, 2], [0, 30, 1]] as const) {
    let seen = 0;
    const refused = withRetries({ retries, pausesTimeoutMs }, undefined, () => {
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
    await rejects(withRetries({ retries: 1, pausesTimeoutMs: 1 }, undefined, () => Promise.reject(refusal)), refusal);
  };
  const servers = Array.from({ length: 1001 }, (_, server) => server);
  await Promise.all(servers.map(waitFor));
  assert.equal(warnings.length, 1001);
  await waitFor(1000);
  assert.equal(warnings.length, 1001);
  await waitFor(0);
  assert.equal(warnings.length, 1002);
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

Deno.test("loopback hosts are recognised by name", () => {
  for (const host of ["127.0.0.1", "127.8.9.10:5000", "localhost", "LOCALHOST:80", "[::1]", "[::1]:5000"]) {
    assert.ok(isLoopback(host), host);
  }
  for (const host of ["127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "example.com:127"]) {
    assert.ok(!isLoopback(host), host);
  }
});

Deno.test("plain HTTP is the fallback only on loopback and with skip_verify", () => {
  const failed = (host: string) => new URL(`https://${host}/v2/`);
  assert.ok(new Endpoint("localhost:5000").fallBack(failed("localhost:5000")));
  assert.ok(!new Endpoint("localhost:5000", { scheme: "https" }).fallBack(failed("localhost:5000")));
  assert.ok(!new Endpoint("r.example.com").fallBack(failed("r.example.com")));
  assert.ok(new Endpoint("r.example.com", { scheme: "https", skipVerify: true }).fallBack(failed("r.example.com")));
  assert.ok(!new Endpoint("r.example.com", { skipVerify: true }).fallBack(failed("elsewhere.example.com")));
});

Deno.test("every request that failed before the fallback may be retried", () => {
  const endpoint = new Endpoint("localhost:5000");
  const first = endpoint.url("/v2/");
  const second = endpoint.url("/v2/");
  assert.ok(endpoint.fallBack(first) && endpoint.fallBack(second));
  assert.equal(endpoint.url("/v2/").protocol, "http:");
});

Deno.test("Docker Hub has one host for all its names, and matches its own URLs only", () => {
  const endpoint = new Endpoint("docker.io");
  assert.equal(endpoint.url("/v2/").href, "https://registry-1.docker.io/v2/");
  assert.ok(endpoint.owns(new URL("https://registry-1.docker.io/v2/x")));
  assert.ok(!endpoint.owns(new URL("http://registry-1.docker.io/v2/x")));
  assert.ok(!endpoint.owns(new URL("https://registry-1.docker.io:444/v2/x")));
});

Deno.test("a presigned URL is used as long as it states", () => {
  const now = Date.UTC(2026, 0, 1, 12, 0, 0);
  const life = (query: string) => locationLifetimeMs(new URL(`https://store/x?${query}`), now);
  assert.equal(life("X-Amz-Date=20260101T115900Z&X-Amz-Expires=120"), 45_000);
  assert.equal(life("X-Goog-Date=20260101T120000Z&X-Goog-Expires=60"), 45_000);
  assert.equal(life(`Expires=${now / 1000 + 60}`), 45_000);
  assert.equal(life("se=2026-01-01T12%3A01%3A00Z"), 45_000);
  assert.equal(life("X-Amz-Date=20250101T115900Z&X-Amz-Expires=120"), 0);
  assert.equal(life("X-Amz-Date=20260101T120000Z&X-Amz-Expires=999999"), 3_600_000);
  for (const none of ["token=x", "Expires=soon", "Expires=3600", "X-Amz-Date=20260101T115900Z", "X-Amz-Expires=120"]) {
    assert.equal(life(none), 300_000, none);
  }
});

/**
 * Jumps of the wall clock, as on resume or when the time is set: credentials are neither dropped nor used for longer.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { basic } from "../../../tests/support/backend/credentials.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { parseRetryAfter, pauseBefore } from "../http/retry.ts";
import { openRegistry } from "../open_backend.ts";
import { staticKeychain } from "./keychain.ts";
import { locationLifetimeMs } from "./location_lifetime.ts";

const BYTES = distinctBytes(5_000);
const YEAR_MS = 365 * 24 * 3_600_000;
const USER = { user: "bob", password: "pass:word" } as const;

/** Runs `test` with a wall clock that it can shift; the monotonic clock is not affected. */
async function withClock(test: (jump: (byMs: number) => void) => Promise<void>): Promise<void> {
  const real = Date.now;
  let offMs = 0;
  Date.now = () => real() + offMs;
  try {
    await test((byMs) => offMs += byMs);
  } finally {
    Date.now = real;
  }
}

Deno.test("token and redirect stay in use however far the clock jumps", () =>
  withClock(async (jump) => {
    await using registry = await FakeRegistry.start({ auth: "bearer", ...USER });
    await using store = await FakeRegistry.start();
    const id = registry.addBlob(BYTES);
    store.addBlob(BYTES);
    registry.store = store;
    using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
    const keychain = staticKeychain(basic(USER.user, USER.password));
    const location = { host: registry.host, repo: "team/app", scheme: "http" } as const;
    const blob = openRegistry(location, { http, keychain }).blob(id);
    const read = async (at: number) => assert.deepEqual(await blob.read(at, 100, ON_DEMAND), BYTES.slice(at, at + 100));
    await read(0);
    const asked = registry.requests.length;
    for (const byMs of [10 * YEAR_MS, -20 * YEAR_MS, 3_600_000, 10 * YEAR_MS]) {
      jump(byMs);
      await read(1_000);
    }
    assert.equal(registry.requests.length, asked, "neither token nor redirect was requested again");
  }));

Deno.test("a wrong clock limits a presigned URL to an hour at most, and a pause to its maximum", () => {
  const url = new URL("https://store/x?X-Amz-Date=20260101T000000Z&X-Amz-Expires=900");
  const now = Date.UTC(2026, 0, 1);
  assert.equal(locationLifetimeMs(url, now + 10 * YEAR_MS), 0);
  assert.equal(locationLifetimeMs(url, now - 10 * YEAR_MS), 3_600_000);
  for (const offMs of [-10 * YEAR_MS, 10 * YEAR_MS]) {
    const asked = parseRetryAfter(new Date(now).toUTCString(), now + offMs);
    assert.ok(pauseBefore(1, asked) <= 10_000);
  }
});

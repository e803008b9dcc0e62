/**
 * Reads through a pull-through cache that ignores ranges until it has the whole blob.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { until } from "../../../tests/support/until.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry } from "../open_backend.ts";
import { ANONYMOUS } from "./keychain.ts";

Deno.test("a cache that ignores ranges until it has the whole blob is asked for all of it once", async () => {
  await using _quiet = await quietLogs();
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 9 });
  const bytes = distinctBytes(6 << 20);
  const location = { host: registry.host, repo: "app", scheme: "http" } as const;
  const blob = openRegistry(location, { http, keychain: ANONYMOUS }).blob(registry.addBlob(bytes));
  const whole = () => registry.requests.filter(({ headers }) => headers.range === undefined).length;
  registry.lasting = { kind: "whole" };
  const offsets = [5 << 20, (5 << 20) + 100_000];
  const reads = Promise.all(offsets.map((offset) => blob.read(offset, 9, ON_DEMAND)));
  await until("the whole blob is requested", () => whole() > 0);
  registry.lasting = undefined;
  assert.deepEqual(await reads, offsets.map((offset) => bytes.slice(offset, offset + 9)));
  assert.equal(whole(), 1);
});

import assert from "node:assert/strict";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { until } from "../../../tests/support/until.ts";
import { BackendProxy } from "./backend_proxy.ts";
import { DEFAULT_FETCH_OPTIONS } from "./fetch_options.ts";
import { HttpClient } from "./http_client.ts";
import { parseProxyAddress } from "./proxy.ts";

Deno.test("a ping is sent once per check_interval, and stops after check_pause_elapsed without use", async () => {
  await using _quiet = await quietLogs();
  await using health = await FakeRegistry.start();
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const address = parseProxyAddress("http://127.0.0.1:1");
  assert.ok(address !== undefined);
  const clock = { nowMs: 0 };
  const proxy = new BackendProxy(
    {
      address,
      pingUrl: new URL(`${health.url}/v2/not-well`),
      fallback: true,
      checkIntervalMs: 5_000,
      useHttp: false,
      checkPauseElapsedMs: 300_000,
      dragonflySchedulerEndpoint: "",
    },
    http,
    {},
    () => clock.nowMs,
  );
  /** Whether a request at that time goes through the proxy. */
  const isProxied = (atMs: number) => {
    clock.nowMs = atMs;
    return proxy.send(new URL("http://h/"), { priority: "on-demand" }, (route) => Promise.resolve(route !== undefined));
  };
  /** Sends requests at that time until a ping has been answered. */
  const isProxiedUntil = async (atMs: number, expected: boolean) => {
    await until("the response has arrived", async () => await isProxied(atMs) === expected);
  };
  assert.equal(await isProxied(0), true);
  await isProxiedUntil(0, false);
  assert.equal(await isProxied(4_999), false);
  assert.equal(health.requests.length, 1);
  assert.equal(await isProxied(5_000), false);
  await until("it is requested", () => health.requests.length >= 2);
  assert.equal(await isProxied(305_000), false, "in use until now");
  await until("it is requested", () => health.requests.length >= 3);
  assert.equal(await isProxied(605_001), true, "its last state is discarded");
  await until("it is requested", () => health.requests.length >= 4);
  await isProxiedUntil(605_001, false);
  assert.equal(health.requests.length, 4);
});

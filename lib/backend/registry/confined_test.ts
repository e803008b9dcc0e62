import assert from "node:assert/strict";
import { FakeRegistry } from "../../../tests/support/fake_registry.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry } from "../open_backend.ts";
import { parseChallenges } from "./challenge.ts";
import { ANONYMOUS } from "./keychain.ts";
import { TokenSource } from "./token.ts";

const ON_DEMAND = { priority: "on-demand" } as const;
const REFUSAL = /an image may not lead there: 127\.0\.0\.1:\d+ is a loopback or link-local address/;

/** A loopback server that must not receive a request. */
async function unasked(test: (victim: FakeRegistry, http: HttpClient) => Promise<void>): Promise<void> {
  await using victim = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  await test(victim, http);
  assert.equal(victim.connections, 0);
}

Deno.test("a registry named only by an image cannot be this machine, and cannot redirect to it", () =>
  unasked(async (victim, http) => {
    const deps = { http, keychain: ANONYMOUS };
    const own = openRegistry({ host: victim.host, repo: "app", confined: true }, deps);
    await assert.rejects(own.blob("ab".repeat(32)).size(), REFUSAL);
    const { transport } = openRegistry({ host: "registry.example.com", repo: "app", confined: true }, deps);
    const redirected = {
      method: "GET",
      path: "/v2/",
      what: "read it",
      startAt: new URL(`${victim.url}/store/x`),
    } as const;
    await assert.rejects(transport.request(redirected, ON_DEMAND, () => Promise.resolve()), REFUSAL);
  }));

Deno.test("a registry named only by an image cannot use this machine as its token server", () =>
  unasked(async (victim, http) => {
    const [challenge] = parseChallenges(`Bearer realm="${victim.url}/token",service="x"`);
    assert.ok(challenge !== undefined);
    const tokens = new TokenSource(challenge, undefined, {
      http,
      registry: "registry.example.com",
      secure: true,
      defaultScope: "repository:app:pull",
      exchange: { confined: true },
    });
    await assert.rejects(tokens.get(ON_DEMAND), REFUSAL);
  }));

import assert from "node:assert/strict";
import { FakeRegistry } from "../../../tests/support/fake_registry.ts";
import { hasCode } from "../../base/errors.ts";
import { parseChallenges } from "./challenge.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import type { Credential } from "./keychain.ts";
import { TokenSource } from "./token.ts";

const ON_DEMAND = { priority: "on-demand" } as const;

interface World {
  readonly server: FakeRegistry;
  readonly clock: { now: number };
  source(credential?: Credential, realm?: string, secure?: boolean): TokenSource;
}

async function withTokens(expiresInSeconds: number | undefined, test: (world: World) => Promise<void>): Promise<void> {
  const life = expiresInSeconds === undefined ? {} : { expiresInSeconds };
  await using server = await FakeRegistry.start({ auth: "bearer", ...life });
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const clock = { now: 0 };
  await test({
    server,
    clock,
    source: (credential, realm = `${server.url}/token`, secure = false) => {
      const [challenge] = parseChallenges(`Bearer realm="${realm}",service="s"`);
      assert.ok(challenge !== undefined);
      const options = {
        http,
        registry: "r",
        secure,
        defaultScope: "repository:x:pull",
        exchange: {},
        now: () => clock.now,
      };
      return new TokenSource(challenge, credential, options);
    },
  });
}

/** Resolves when the server saw `count` requests for tokens. */
async function seen(server: FakeRegistry, count: number): Promise<void> {
  while (server.count("GET", "/token") < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("a token is used until shortly before its end", () =>
  withTokens(300, async ({ server, clock, source }) => {
    const tokens = source();
    const first = await tokens.get(ON_DEMAND);
    clock.now = 270_000;
    assert.equal(await tokens.get(ON_DEMAND), first);
    assert.equal(server.count("GET", "/token"), 1);
    clock.now = 296_000;
    assert.notEqual(await tokens.get(ON_DEMAND), first);
    assert.equal(server.count("GET", "/token"), 2);
  }));

Deno.test("in its last seconds a token is replaced while it is still used", () =>
  withTokens(300, async ({ server, clock, source }) => {
    const tokens = source();
    const first = await tokens.get(ON_DEMAND);
    clock.now = 280_000;
    assert.equal(await tokens.get(ON_DEMAND), first);
    await seen(server, 2);
    clock.now = 299_000;
    assert.notEqual(await tokens.get(ON_DEMAND), first);
    assert.equal(server.count("GET", "/token"), 2);
  }));

Deno.test("a token without a stated life lives a minute", () =>
  withTokens(undefined, async ({ server, clock, source }) => {
    const tokens = source();
    await tokens.get(ON_DEMAND);
    clock.now = 56_000;
    await tokens.get(ON_DEMAND);
    assert.equal(server.count("GET", "/token"), 2);
  }));

Deno.test("callers that come together share one request, and one may give up", () =>
  withTokens(60, async ({ server, source }) => {
    const tokens = source();
    const controller = new AbortController();
    const leaving = tokens.get({ priority: "on-demand", signal: controller.signal });
    const staying = tokens.get(ON_DEMAND);
    controller.abort();
    await assert.rejects(leaving, (error) => hasCode(error, "interrupted"));
    assert.ok(await staying);
    assert.equal(server.count("GET", "/token"), 1);
    assert.equal(server.requests[0]?.query.get("scope"), "repository:x:pull");
  }));

Deno.test("a password for a TLS registry is not sent to a token server in plain HTTP", () =>
  withTokens(60, ({ source }) => {
    const basic: Credential = { kind: "basic", user: "u", password: "p" };
    assert.throws(
      () => source(basic, "http://auth.example.com/token", true),
      (error) => hasCode(error, "unauthorized") && /plain HTTP/.test(error.message),
    );
    source(undefined, "http://auth.example.com/token", true);
    return Promise.resolve();
  }));

Deno.test("a challenge without a usable realm is an error", () =>
  withTokens(60, ({ source }) => {
    for (const realm of ["", "/token", "file:///etc/passwd"]) {
      assert.throws(() => source(undefined, realm), /names no token server/);
    }
    return Promise.resolve();
  }));

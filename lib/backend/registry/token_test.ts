import assert from "node:assert/strict";
import { ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { basic, identityToken } from "../../../tests/support/backend/credentials.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import type { FakeTokenOptions } from "../../../tests/support/backend/fake_token_server.ts";
import { until } from "../../../tests/support/until.ts";
import { type ErrorCode, hasCode } from "../../base/errors.ts";
import { parseChallenges } from "./challenge.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import type { Credential } from "./credential.ts";
import { TokenSource } from "./token.ts";
import { parseTokenResponse } from "./token_protocol.ts";

interface World {
  readonly server: FakeRegistry;
  readonly clock: { now: number };
  source(credential?: Credential, realm?: string, secure?: boolean): TokenSource;
}

async function withTokens(
  expiresInSeconds: number | undefined,
  test: (world: World) => Promise<void>,
  rules: FakeTokenOptions = {},
): Promise<void> {
  const life = expiresInSeconds === undefined ? {} : { expiresInSeconds };
  await using server = await FakeRegistry.start({ auth: "bearer", ...life, ...rules });
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

/** Resolves once the server has received `count` token requests. */
async function seen(server: FakeRegistry, count: number): Promise<void> {
  await until(`${count} requests arrive`, () => server.count("GET", "/token") >= count);
}

Deno.test("a token is used until shortly before it expires", () =>
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

Deno.test("shortly before it expires a token is renewed while it is still used", () =>
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

Deno.test("a token without expires_in is used for a minute", () =>
  withTokens(undefined, async ({ server, clock, source }) => {
    const tokens = source();
    await tokens.get(ON_DEMAND);
    clock.now = 56_000;
    await tokens.get(ON_DEMAND);
    assert.equal(server.count("GET", "/token"), 2);
  }));

Deno.test("concurrent callers share one request, and one of them may abort", () =>
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

Deno.test("the password of a TLS registry is not sent to a token server over plain HTTP", () =>
  withTokens(60, ({ source }) => {
    assert.throws(
      () => source(basic("u", "p"), "http://auth.example.com/token", true),
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

for (const getStatus of [404, 405] as const) {
  Deno.test(`where GET is ${getStatus}, user and password are sent by POST, and from then on at once`, () =>
    withTokens(60, async ({ server, clock, source }) => {
      const tokens = source(basic("u", "p w"));
      const first = await tokens.get(ON_DEMAND);
      const form = new URLSearchParams(server.requests[1]?.body);
      assert.deepEqual(Object.fromEntries(form), {
        grant_type: "password",
        username: "u",
        password: "p w",
        client_id: "nydus-gd",
        service: "s",
        scope: "repository:x:pull",
      });
      assert.equal(server.requests[1]?.query.size, 0, "the URL does not contain it");
      clock.now = 60_000;
      assert.notEqual(await tokens.get(ON_DEMAND), first);
      assert.deepEqual(server.requests.map(({ method }) => method), ["GET", "POST", "POST"]);
      await assert.rejects(source(basic("u", "other")).get(ON_DEMAND), (error) => hasCode(error, "unauthorized"));
      await assert.rejects(
        source().get(ON_DEMAND),
        (error) => hasCode(error, "unavailable") && new RegExp(`HTTP ${getStatus} from`).test(error.message),
      );
      assert.equal(server.count("POST", "/token"), 3, "without a password nothing is posted");
    }, { user: "u", password: "p w", getStatus }));
}

Deno.test("only some errors of a token server say that the credential is wrong, and 404 that there is none", async () => {
  let answer = new Response();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => answer);
  await withTokens(60, async ({ source }) => {
    const fails = async (status: number, error: string | undefined, code: ErrorCode, words: RegExp) => {
      answer = Response.json({ error }, { status });
      const realm = `http://127.0.0.1:${server.addr.port}/token`;
      await assert.rejects(
        source(identityToken("t"), realm).get(ON_DEMAND),
        (e) => hasCode(e, code) && words.test(e.message),
        `${status} ${error}`,
      );
    };
    for (const error of ["invalid_client", "invalid_grant", "unauthorized_client", "access_denied"]) {
      await fails(400, error, "unauthorized", new RegExp(`HTTP 400 ${error}`));
    }
    for (const error of ["invalid_request", "invalid_scope", "unsupported_grant_type"]) {
      await fails(400, error, "unavailable", new RegExp(`HTTP 400 ${error}`));
    }
    await fails(400, "SECRET", "unavailable", /HTTP 400(?!.*SECRET)/);
    await fails(404, undefined, "unavailable", /HTTP 404/);
  });
});

Deno.test("an answer has a token if either field has one that can be sent, which is not told in messages", () => {
  const parse = (answer: unknown) => parseTokenResponse(JSON.stringify(answer), "host");
  assert.deepEqual(parse({ token: "", access_token: "a", expires_in: 7, refresh_token: "" }), {
    value: "a",
    lifetimeMs: 7000,
    identityToken: undefined,
  });
  assert.deepEqual(parse({ token: "t", access_token: "a", expires_in: -7, refresh_token: "r" }), {
    value: "t",
    lifetimeMs: 0,
    identityToken: "r",
  });
  for (
    const answer of [{}, { token: "" }, { token: "SECRET x" }, { token: "SECRET\r\nHost: x" }, { token: "SECRÉT" }, {
      token: 7,
    }, []]
  ) {
    assert.throws(
      () => parse(answer),
      (error) => hasCode(error, "unavailable") && /host returned no token$/.test(error.message),
      JSON.stringify(answer),
    );
  }
  assert.throws(() => parseTokenResponse("SECRET", "host"), /host returned no JSON$/);
});

Deno.test("a password that GET refuses is not sent again by POST", () =>
  withTokens(60, async ({ server, source }) => {
    await assert.rejects(source(basic("u", "other")).get(ON_DEMAND), (error) => hasCode(error, "unauthorized"));
    assert.deepEqual(server.requests.map(({ method }) => method), ["GET"]);
  }, { user: "u", password: "p" }));

Deno.test("an identity token is sent by POST, and replaced by the one in the response", () =>
  withTokens(60, async ({ server, clock, source }) => {
    const tokens = source(identityToken("first"));
    for (clock.now of [0, 60_000, 120_000]) await tokens.get(ON_DEMAND);
    const sent = server.requests.map(({ body }) => new URLSearchParams(body).get("refresh_token"));
    assert.equal(sent[0], "first");
    assert.equal(new Set(sent).size, 3);
    await assert.rejects(
      source(identityToken("first")).get(ON_DEMAND),
      (error) => hasCode(error, "unauthorized") && /HTTP 400 invalid_grant/.test(error.message),
    );
    assert.equal(server.count("GET", "/token"), 0);
  }, { identityToken: "first", rotates: true }));

/**
 * Proxies of nydusd's configuration and of the environment, observed from both sides.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { basic } from "../../../tests/support/backend/credentials.ts";
import { FakeProxy, type FakeProxyOptions } from "../../../tests/support/backend/fake_proxy.ts";
import { FakeRegistry, type FakeRegistryOptions } from "../../../tests/support/backend/fake_registry.ts";
import { CERTIFICATE_FILE, TLS } from "../../../tests/support/backend/tls_fixture.ts";
import { thrownBy } from "../../../tests/support/thrown_by.ts";
import { until } from "../../../tests/support/until.ts";
import { NydusGdError } from "../../base/errors.ts";
import { parseNydusdConfig } from "../nydusd_config.ts";
import { type BackendDeps, openRegistry, type RegistryLocation } from "../open_backend.ts";
import { staticKeychain } from "../registry/keychain.ts";
import type { ProxyConfig } from "./backend_proxy.ts";
import { DEFAULT_FETCH_OPTIONS, type FetchOptions } from "./fetch_options.ts";
import { HttpClient } from "./http_client.ts";

const BYTES = distinctBytes(100_000);
const USER = { user: "bob", password: "pass:word" } as const;
const LOGIN = "proxyuser:proxy:s3cret";

interface World {
  readonly registry: FakeRegistry;
  readonly proxy: FakeProxy;
  readonly id: string;
  /** Opens a backend with these keys of `proxy` in addition to its `url`, which includes a login if any. */
  open(proxy?: Record<string, unknown>, location?: Partial<RegistryLocation>): ReturnType<typeof openRegistry>;
  /** Opens "registry.test" with these environment variables. */
  openByName(environment: Record<string, string>): ReturnType<typeof openRegistry>;
  url(): string;
}

interface WorldOptions extends FakeRegistryOptions {
  readonly fetch?: Partial<FetchOptions>;
  readonly proxy?: FakeProxyOptions;
}

async function withProxy(options: WorldOptions, test: (world: World) => Promise<void>): Promise<void> {
  await using registry = await FakeRegistry.start(options);
  await using proxy = await FakeProxy.start({ hosts: { "registry.test": registry.port }, ...options.proxy });
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0, ...options.fetch });
  const deps: BackendDeps = {
    http,
    keychain: staticKeychain(basic(USER.user, USER.password)),
    certsDir: "/nonexistent",
    environment: {},
  };
  const login = options.proxy?.login;
  const url = () =>
    login === undefined ? proxy.url : proxy.url.replace("://", `://${login.replace(/:(.*):/, ":$1%3A")}@`);
  const scheme = options.tls === undefined ? "http" : "https";
  const location = { repo: "team/app", scheme, caCertFiles: [CERTIFICATE_FILE] } as const;
  await test({
    registry,
    proxy,
    id: registry.addBlob(BYTES),
    url,
    open: (keys = {}, more = {}) =>
      openRegistry({ host: registry.host, ...location, proxy: proxyOf({ url: url(), ...keys }), ...more }, deps),
    openByName: (environment) => openRegistry({ host: "registry.test", ...location }, { ...deps, environment }),
  });
}

/** As in nydusd's configuration. */
function proxyOf(proxy: Record<string, unknown>): ProxyConfig {
  const registry = { host: "h", repo: "r", proxy };
  const { backend } = parseNydusdConfig(JSON.stringify({ version: 2, backend: { type: "registry", registry } }));
  assert.ok(backend.type === "registry");
  return backend.proxy;
}

/** Expects a rejection with these words and without the proxy's secrets. */
async function refuses(promise: Promise<unknown>, words: RegExp): Promise<void> {
  const error = await thrownBy(() => promise);
  assert.ok(error instanceof NydusGdError, String(error));
  assert.match(error.message, words);
  const shown = Deno.inspect(error, { depth: 9 });
  assert.ok(!shown.includes("s3cret") && !shown.includes(btoa(LOGIN)), shown);
}

async function readsWell(backend: ReturnType<typeof openRegistry>, id: string, reads = 3): Promise<void> {
  const blob = backend.blob(id);
  for (let at = 0; at < reads; at++) assert.deepEqual(await blob.read(at, 500, ON_DEMAND), BYTES.slice(at, at + 500));
}

Deno.test("http: reads go to the proxy as absolute URLs, over one connection, with Dragonfly's headers", () =>
  withProxy({}, async ({ registry, proxy, open, id }) => {
    await readsWell(open(), id);
    await open().blob(id).read(0, 1, { priority: "prefetch" });
    assert.deepEqual(
      proxy.requests.map(({ method, target }) => `${method} ${target}`),
      Array(4).fill(`GET ${registry.url}/v2/team/app/blobs/sha256:${id}`),
    );
    assert.equal(proxy.connections, 1);
    const [first, last] = [proxy.requests[0]?.headers, proxy.requests[3]?.headers];
    assert.equal(first?.host, registry.host);
    assert.deepEqual([first?.["x-dragonfly-priority"], first?.["x-dragonfly-prefetch"]], ["6", undefined]);
    assert.deepEqual([last?.["x-dragonfly-priority"], last?.["x-dragonfly-prefetch"]], ["3", "true"]);
  }));

Deno.test("https: reads go through a kept tunnel, and the registry receives no proxy headers", () =>
  withProxy({ tls: TLS, auth: "basic", ...USER, proxy: { login: LOGIN } }, async ({ registry, proxy, open, id }) => {
    await readsWell(open(), id);
    assert.deepEqual(proxy.requests.map(({ method, target }) => `${method} ${target}`), [`CONNECT ${registry.host}`]);
    assert.equal(proxy.requests[0]?.headers.authorization, undefined);
    for (const { headers } of registry.requests) {
      assert.deepEqual(Object.keys(headers).filter((name) => /proxy|dragonfly/.test(name)), []);
    }
  }));

Deno.test("a proxy is reached over TLS as well, for http and for https", async () => {
  await withProxy({ proxy: { tls: TLS } }, async ({ proxy, open, id }) => {
    await readsWell(open({ fallback: false }), id);
    assert.equal(proxy.connections, 1);
  });
  await withProxy({ tls: TLS, proxy: { tls: TLS } }, async ({ proxy, open, id }) => {
    await readsWell(open({ fallback: false }), id);
    assert.equal(proxy.connections, 1);
  });
});

Deno.test("use_http requests http from the proxy where the registry speaks https", () =>
  withProxy({}, async ({ registry, proxy, open, id }) => {
    await readsWell(open({ use_http: true, fallback: false }, { scheme: "https" }), id);
    assert.ok(proxy.requests.every(({ target }) => target.startsWith(`${registry.url}/`)));
  }));

Deno.test("the proxy receives the login of its URL, and a refused login is reported without it", () =>
  withProxy({ proxy: { login: LOGIN } }, async ({ proxy, open, url, id }) => {
    await readsWell(open({ fallback: false }), id);
    const wrong = open({ fallback: false, url: url().replace("proxyuser", "other") });
    await refuses(wrong.blob(id).size(), /HTTP 407 from .* through proxy 127/);
    await readsWell(open({ url: proxy.url }), id);
  }));

Deno.test("tokens are requested directly, data through the proxy", () =>
  withProxy({ auth: "bearer", ...USER }, async ({ registry, proxy, open, id }) => {
    await readsWell(open({ fallback: false }), id);
    assert.equal(registry.count("GET", "/token"), 1);
    assert.ok(proxy.requests.every(({ target }) => !target.includes("/token")));
  }));

/** For tests of timeouts; long enough for a handshake on a busy machine. */
const IMPATIENT = { readTimeoutMs: 1_000, connectTimeoutMs: 1_000 };

for (const tls of [undefined, TLS]) {
  const scheme = tls === undefined ? "http" : "https";
  for (
    const fault of [{ kind: "status", status: 502 }, { kind: "reset" }, { kind: "stall" }] as const
  ) {
    Deno.test(`${scheme}: a proxy with the fault "${fault.kind}" is bypassed, or reported without fallback`, () =>
      withProxy(
        { ...(tls === undefined ? {} : { tls }), ...(fault.kind === "stall" ? { fetch: IMPATIENT } : {}) },
        async ({ registry, proxy, open, id }) => {
          proxy.fault = fault;
          await readsWell(open(), id, 1);
          assert.equal(registry.requests.length, 1);
          await refuses(open({ fallback: false }).blob(id).read(0, 9, ON_DEMAND), /proxy 127\.0\.0\.1:\d+/);
          assert.equal(registry.requests.length, 1);
        },
      ));
  }

  Deno.test(`${scheme}: an unreachable proxy is bypassed, or reported without fallback`, () =>
    withProxy(tls === undefined ? {} : { tls }, async ({ open, id }) => {
      const url = `http://${LOGIN}@127.0.0.1:1`;
      await readsWell(open({ url }), id);
      await refuses(open({ url, fallback: false }).blob(id).size(), /connection to proxy 127\.0\.0\.1:1 refused/);
    }));
}

Deno.test("connections to a proxy that does not answer are closed", () =>
  withProxy({ tls: TLS, fetch: { connectTimeoutMs: 50 } }, async ({ proxy, open, id }) => {
    proxy.fault = { kind: "stall" };
    for (let i = 0; i < 3; i++) await refuses(open({ fallback: false }).blob(id).size(), /timed out|within 50 ms/);
    await until("the connections are closed", () => proxy.open === 0);
    assert.equal(proxy.connections, 3);
  }));

Deno.test("a response that the proxy truncates is fetched directly", () =>
  withProxy({}, async ({ proxy, open, id }) => {
    proxy.fault = { kind: "truncate", keep: 100 };
    await readsWell(open(), id, 1);
    await refuses(open({ fallback: false }).blob(id).read(0, 500, ON_DEMAND), /connection was lost/);
  }));

Deno.test("a refusal of the registry is not retried without the proxy", () =>
  withProxy({}, async ({ registry, open }) => {
    await refuses(open().blob("0".repeat(64)).size(), /HTTP 404/);
    assert.equal(registry.requests.length, 1);
  }));

Deno.test("the last attempt, and one after wrong bytes, goes directly where fallback allows it", () =>
  withProxy({ fetch: { retries: 1 } }, async ({ registry, proxy, open, id }) => {
    registry.faults.push({ kind: "status", status: 429, headers: { "retry-after": "0" } });
    await readsWell(open(), id, 1);
    assert.deepEqual([proxy.requests.length, registry.requests.length], [1, 2]);
    const doubtful = { ...ON_DEMAND, corruptResponses: 1 };
    await open().blob(id).read(0, 9, doubtful);
    assert.deepEqual([proxy.requests.length, registry.requests.length], [1, 3]);
    await open({ fallback: false }).blob(id).read(0, 9, doubtful);
    assert.deepEqual([proxy.requests.length, registry.requests.length], [2, 4]);
  }));

Deno.test("an unhealthy proxy is bypassed until it recovers, or reported without fallback", () =>
  withProxy({}, async ({ proxy, open, id }) => {
    await using health = await FakeRegistry.start();
    const ping_url = `${health.url}/v2/healthy`;
    const sees = async (backend: ReturnType<typeof openRegistry>, done: (proxied: number) => boolean) => {
      for (let before = proxy.requests.length;; before = proxy.requests.length) {
        const outcome = await backend.blob(id).read(0, 9, ON_DEMAND).then(() => undefined, (error: Error) => error);
        if (done(outcome === undefined ? proxy.requests.length - before : -1)) return outcome;
      }
    };
    const backend = open({ ping_url, check_interval: 0 });
    await sees(backend, (proxied) => proxied === 0); // 404: not well
    const strict = open({ ping_url, check_interval: 0, fallback: false });
    const error = await sees(strict, (proxied) => proxied === -1);
    assert.match(String(error), /proxy 127\.0\.0\.1:\d+ is unhealthy/);
    const well = open({ ping_url: `${health.url}/v2/`, check_interval: 0 });
    for (let i = 0; i < 5; i++) await sees(well, (proxied) => proxied === 1);
    assert.ok(health.requests.length >= 7);
  }));

Deno.test("the environment's proxy is used unless NO_PROXY matches, also for tokens and tunnels", async () => {
  await withProxy({ auth: "bearer", ...USER, proxy: { login: LOGIN } }, async ({ proxy, openByName, url, id }) => {
    await readsWell(openByName({ HTTP_PROXY: url() }), id);
    assert.ok(proxy.requests.length >= 3);
    assert.ok(proxy.requests.every(({ headers }) => headers["x-dragonfly-priority"] === undefined));
    await refuses(
      openByName({ HTTP_PROXY: url(), NO_PROXY: ".test" }).blob(id).size(),
      /no address for registry\.test/,
    );
    await refuses(openByName({ HTTPS_PROXY: url() }).blob(id).size(), /no address for registry\.test/);
  });
  await withProxy({ tls: TLS }, async ({ proxy, openByName, id }) => {
    // the certificate is one for localhost
    await refuses(
      openByName({ https_proxy: proxy.url }).blob(id).size(),
      /certificate of registry\.test is not trusted/,
    );
    assert.deepEqual(proxy.requests.map(({ target }) => target), ["registry.test:443"]);
  });
});

Deno.test("a proxy of the environment that cannot be reached, or refuses, is reported with its variable", async () => {
  const NOBODY = "http://127.0.0.1:1";
  const cases = [
    [{}, { http_proxy: NOBODY }, "http_proxy"],
    [{ tls: TLS }, { HTTPS_PROXY: NOBODY }, "HTTPS_PROXY"],
  ] as const;
  for (const [options, environment, variable] of cases) {
    await withProxy(options, async ({ openByName, id }) => {
      await assert.rejects(openByName(environment).blob(id).size(), {
        message: /connection to proxy 127\.0\.0\.1:1 refused$/,
        hint: `correct ${variable}, or name hosts to ask directly in NO_PROXY`,
      });
    });
  }
  await withProxy({ tls: TLS, proxy: { login: LOGIN } }, async ({ proxy, openByName, id }) => {
    await assert.rejects(openByName({ HTTPS_PROXY: proxy.url }).blob(id).size(), {
      message: /proxy 127\.0\.0\.1:\d+ requires user and password$/,
      hint: /^correct HTTPS_PROXY,/,
    });
  });
});

Deno.test("an error of the environment's proxy names the proxy", () =>
  withProxy({}, async ({ proxy, openByName, id }) => {
    proxy.fault = { kind: "status", status: 503 };
    const blob = openByName({ HTTP_PROXY: proxy.url }).blob(id);
    await refuses(blob.size(), /HTTP 503 from registry\.test through proxy 127\.0\.0\.1:\d+$/);
  }));

Deno.test("invalid addresses are refused by their keys, without showing their content", () =>
  withProxy({}, ({ open }) => {
    const refused = (proxy: Record<string, unknown>, words: RegExp) =>
      assert.throws(() => open(proxy), (error: Error) => words.test(error.message) && !/s3cret/.test(error.message));
    refused({ url: "socks5://u:s3cret@h" }, /backend\.registry\.proxy\.url is not an http/);
    refused({ ping_url: "s3cret" }, /backend\.registry\.proxy\.ping_url is not an http/);
    return Promise.resolve();
  }));

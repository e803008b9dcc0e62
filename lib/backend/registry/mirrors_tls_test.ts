/**
 * Mirrors over TLS: trusted and presented certificates, directly and through proxies.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, refuses } from "../../../tests/support/backend/backend_world.ts";
import { FakeProxy } from "../../../tests/support/backend/fake_proxy.ts";
import { FakeRegistry, type FakeRegistryOptions } from "../../../tests/support/backend/fake_registry.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { CERTIFICATE_FILE, KEY_FILE, TLS } from "../../../tests/support/backend/tls_fixture.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { parseNydusdConfig } from "../nydusd_config.ts";
import { openBackend } from "../open_backend.ts";
import { Mirrors } from "./certs_dir.ts";
import { HostHealth } from "./host_health.ts";
import { ANONYMOUS } from "./keychain.ts";

const BYTES = distinctBytes(50_000);

interface World {
  readonly upstream: FakeRegistry;
  readonly mirror: FakeRegistry;
  readonly proxy: FakeProxy;
  /** Reads with a hosts.toml whose only mirror has these lines. @param keys of nydusd's configuration */
  read(lines: string, keys?: Record<string, unknown>, way?: Way): Promise<void>;
}

/** How to reach the mirror. */
interface Way {
  readonly environment: Record<string, string>;
  /** Replaces its address. */
  readonly url: string;
}

/** A TLS mirror of a registry that is down, and a proxy. */
async function withMirror(mirrorOptions: FakeRegistryOptions, test: (world: World) => Promise<void>): Promise<void> {
  await using _quiet = await quietLogs();
  await using upstream = await FakeRegistry.start();
  await using mirror = await FakeRegistry.start({ tls: TLS, ...mirrorOptions });
  await using proxy = await FakeProxy.start({ hosts: { "mirror.test": mirror.port } });
  using dir = TempDir.make();
  const folder = dir.join(upstream.host);
  Deno.mkdirSync(folder);
  Deno.copyFileSync(CERTIFICATE_FILE, `${folder}/mirror-ca.crt`);
  Deno.copyFileSync(CERTIFICATE_FILE, `${folder}/client.cert`);
  Deno.copyFileSync(KEY_FILE, `${folder}/client.key`);
  Deno.writeTextFileSync(`${folder}/both.pem`, TLS.certificate + TLS.key);
  const id = mirror.addBlob(BYTES);
  upstream.lasting = { kind: "status", status: 503 };
  await test({
    upstream,
    mirror,
    proxy,
    async read(lines, keys = {}, { environment, url } = { environment: {}, url: mirror.url }) {
      Deno.writeTextFileSync(`${folder}/hosts.toml`, `[host."${url}"]\n${lines}`);
      using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
      const registry = { host: upstream.host, repo: "team/app", scheme: "http", ...keys };
      const { backend } = parseNydusdConfig(JSON.stringify({ version: 2, backend: { type: "registry", registry } }));
      const mirrors = new Mirrors([dir.path], new HostHealth());
      const deps = { http, keychain: ANONYMOUS, certsDir: "/nonexistent", mirrors, environment, imagePullAuth: "" };
      assert.deepEqual(await openBackend(backend, deps).blob(id).read(7, 100, ON_DEMAND), BYTES.slice(7, 107));
    },
  });
}

Deno.test("ca and skip_verify of a mirror apply to its certificate, those of the registry do not", () =>
  withMirror({}, async ({ read, mirror }) => {
    const untrusted = new RegExp(`mirror ${mirror.host}: certificate of ${mirror.host} is not trusted`);
    await refuses(read(""), "unavailable", untrusted);
    await refuses(read("", { skip_verify: true }), "unavailable", untrusted);
    await refuses(read("", { ca_cert_files: [CERTIFICATE_FILE] }), "unavailable", untrusted);
    assert.equal(mirror.requests.length, 0);
    await read(`ca = "mirror-ca.crt"`);
    await read(`ca = ["client.cert", "${CERTIFICATE_FILE}"]`);
    await read(`skip_verify = true`);
    await refuses(read(`skip_verify = false`), "unavailable", untrusted);
  }));

Deno.test("client certificates of a mirror are presented to it, in each of their forms", () =>
  withMirror({ tls: { ...TLS, clientCa: TLS.certificate } }, async ({ read, mirror }) => {
    await refuses(read(`ca = "mirror-ca.crt"`), "unavailable", new RegExp(`mirror ${mirror.host}: `));
    assert.equal(mirror.requests.length, 0);
    await read(`ca = "mirror-ca.crt"\nclient = ["client.cert", "client.key"]`);
    await read(`ca = "mirror-ca.crt"\nclient = [["client.cert", "client.key"]]`);
    await read(`ca = "mirror-ca.crt"\nclient = "both.pem"`);
    await read(`skip_verify = true\nclient = [["${CERTIFICATE_FILE}", "${KEY_FILE}"]]`);
  }));

Deno.test("unreadable certificates of a mirror are refused with their path", () =>
  withMirror({}, async ({ read }) => {
    await refuses(read(`ca = "none.crt"`), "config", /^Cannot read certificate \/.*\/none\.crt: /);
    await refuses(read(`ca = "client.key"`), "config", /client\.key: it contains none in PEM format$/);
    await refuses(read(`client = ["client.cert", "mirror-ca.crt"]`), "config", /^Cannot read private key .*mirror-ca/);
  }));

Deno.test("header, override_path and capabilities of a mirror apply over TLS", () =>
  withMirror({ auth: "basic", user: "bob", password: "s3cret" }, async ({ read, mirror, upstream }) => {
    const login = `header = { authorization = "Basic ${btoa("bob:s3cret")}", x-team = ["a", "b"] }`;
    await read(`ca = "mirror-ca.crt"\n${login}`);
    assert.equal(mirror.requests.at(-1)?.headers["x-team"], "a, b");
    await read(`ca = "mirror-ca.crt"\noverride_path = false\ncapabilities = ["pull"]\n${login}`);
    await refuses(read(`ca = "mirror-ca.crt"\noverride_path = true\n${login}`), "unavailable", /HTTP 404 from/);
    assert.match(mirror.requests.at(-1)?.path ?? "", /^\/team\/app\/blobs\//);
    const asked = mirror.requests.length;
    await refuses(read(`ca = "mirror-ca.crt"\ncapabilities = ["resolve"]\n${login}`), "unavailable", /HTTP 503/);
    assert.equal(mirror.requests.length, asked);
    const shown = JSON.stringify(upstream.requests.map(({ headers }) => headers));
    assert.ok(!shown.includes(btoa("bob:s3cret")) && !shown.includes("x-team"));
  }));

const CA = `ca = "mirror-ca.crt"`;

Deno.test("a configured proxy is used for mirrors too, and bypassed only with fallback", () =>
  withMirror({}, async ({ read, mirror, upstream, proxy }) => {
    const through = (keys: Record<string, unknown> = {}) => ({ proxy: { url: proxy.url, ...keys } });
    await read(CA, through());
    assert.deepEqual(proxy.requests.map(({ method, target }) => `${method} ${target}`), [`CONNECT ${mirror.host}`]);
    proxy.fault = { kind: "status", status: 502 };
    await read(CA, through());
    const asked = [mirror.requests.length, upstream.requests.length];
    const error = await refuses(read(CA, through({ fallback: false })), "unavailable");
    assert.match(error.message, new RegExp(`; mirror ${mirror.host}: .*proxy ${proxy.host}`));
    assert.deepEqual([mirror.requests.length, upstream.requests.length], asked);
  }));

Deno.test("an environment proxy is used for mirrors unless NO_PROXY matches", () =>
  withMirror({}, async ({ read, proxy }) => {
    const environment = { HTTPS_PROXY: proxy.url, NO_PROXY: "other.test" };
    const url = "https://mirror.test";
    await read("skip_verify = true", {}, { environment, url });
    assert.deepEqual(proxy.requests.map(({ method, target }) => `${method} ${target}`), ["CONNECT mirror.test:443"]);
    const direct = read("skip_verify = true", {}, { environment: { ...environment, NO_PROXY: ".test" }, url });
    await refuses(direct, "unavailable", /mirror mirror\.test: no address for mirror\.test/);
    assert.equal(proxy.requests.length, 1);
  }));

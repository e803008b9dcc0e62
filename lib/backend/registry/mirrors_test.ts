import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, refuses } from "../../../tests/support/backend/backend_world.ts";
import { basic } from "../../../tests/support/backend/credentials.ts";
import { FakeRegistry, type FakeRegistryOptions } from "../../../tests/support/backend/fake_registry.ts";
import type { Fault } from "../../../tests/support/backend/faults.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { parseDigest } from "../../oci/digest.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry, type RegistryLocation } from "../open_backend.ts";
import { Mirrors } from "./certs_dir.ts";
import { HostHealth } from "./host_health.ts";
import { ANONYMOUS, type Keychain } from "./keychain.ts";
import { getManifest, getSmallBlob } from "./manifest.ts";

const BYTES = distinctBytes(100_000);
const INDEX = new TextEncoder().encode(
  JSON.stringify({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] }),
);
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

interface World {
  readonly upstream: FakeRegistry;
  readonly mirrors: readonly [FakeRegistry, FakeRegistry];
  readonly id: string;
  readonly clock: { nowMs: number };
  /** Writes the hosts.toml of the upstream registry. */
  write(toml: string): void;
  open(location?: Partial<RegistryLocation>, keychain?: Keychain): ReturnType<typeof openRegistry>;
  /** Requests for a blob since the last call: first mirror, second mirror, upstream. */
  asked(): number[];
}

interface WorldOptions {
  readonly upstream?: FakeRegistryOptions;
  readonly mirror?: FakeRegistryOptions;
  readonly retries?: number;
}

/** An upstream with two mirrors; all three have the blob. */
async function withMirrors(options: WorldOptions, test: (world: World) => Promise<void>): Promise<void> {
  await using _quiet = await quietLogs();
  await using upstream = await FakeRegistry.start(options.upstream);
  await using first = await FakeRegistry.start(options.mirror);
  await using second = await FakeRegistry.start();
  using dir = TempDir.make();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: options.retries ?? 0, readTimeoutMs: 1500 });
  const ids = [upstream, first, second].map((registry) => registry.addBlob(BYTES));
  const clock = { nowMs: 0 };
  const folders = new Mirrors([dir.path], new HostHealth(() => clock.nowMs));
  Deno.mkdirSync(dir.join(upstream.host));
  const write = (toml: string) => Deno.writeTextFileSync(dir.join(`${upstream.host}/hosts.toml`), toml);
  write(`[host."${first.url}"]\n[host."${second.url}"]\n`);
  const seen = [0, 0, 0];
  await test({
    upstream,
    mirrors: [first, second],
    id: ids[0] ?? "",
    clock,
    write,
    open: (location = {}, keychain = ANONYMOUS) =>
      openRegistry({ host: upstream.host, repo: "team/app", scheme: "http", ...location }, {
        http,
        keychain,
        certsDir: "/nonexistent",
        mirrors: folders,
      }),
    asked: () =>
      [first, second, upstream].map((registry, i) => {
        const count = registry.requests.length;
        const before = seen[i] ?? 0;
        seen[i] = count;
        return count - before;
      }),
  });
}

Deno.test("mirrors are requested in file order, with the registry's name", () =>
  withMirrors({}, async ({ open, id, asked, mirrors: [first] }) => {
    assert.deepEqual(await open().blob(id).read(5, 100, ON_DEMAND), BYTES.slice(5, 105));
    assert.deepEqual(asked(), [1, 0, 0]);
    const [request] = first.requests;
    assert.equal(request?.path, `/v2/team/app/blobs/sha256:${id}`);
    assert.match(request?.query.get("ns") ?? "", /^127\.0\.0\.1:\d+$/);
    assert.equal(await open().blob(id).size(), BYTES.length);
  }));

Deno.test("without a hosts file only the registry is requested, without extra parameters", () =>
  withMirrors({}, async ({ open, upstream, id, asked, mirrors: [first] }) => {
    await open({ host: first.host }).blob(id).read(0, 1, ON_DEMAND);
    assert.deepEqual(asked(), [1, 0, 0]);
    assert.equal(first.requests[0]?.query.size, 0);
    assert.equal(upstream.connections, 0);
  }));

const TO_THE_NEXT: readonly [name: string, fault: Fault, isOfHost: boolean][] = [
  ["HTTP 503", { kind: "status", status: 503 }, true],
  ["HTTP 404", { kind: "status", status: 404 }, false],
  ["HTTP 403", { kind: "status", status: 403 }, false],
  ["a connection that is cut", { kind: "reset" }, true],
  ["silence", { kind: "stall" }, true],
  ["one byte at a time", { kind: "drip", bytes: 1, everyMs: 500 }, true],
  ["a body that is cut off", { kind: "truncate", keep: 5 }, true],
  ["a redirect to nowhere", { kind: "redirect", location: "http://127.0.0.1:1/x" }, true],
];
for (const [name, fault, isOfHost] of TO_THE_NEXT) {
  Deno.test(`after ${name} the next host is requested, and stays first afterwards`, () =>
    withMirrors({}, async ({ open, id, asked, clock, mirrors: [first] }) => {
      first.faults.push(fault);
      const backend = open();
      const blob = backend.blob(id);
      assert.deepEqual(await blob.read(0, 10, ON_DEMAND), BYTES.slice(0, 10));
      assert.deepEqual(asked(), [1, 1, 0]);
      assert.deepEqual(await blob.read(10, 10, ON_DEMAND), BYTES.slice(10, 20));
      assert.deepEqual(asked(), [0, 1, 0]);
      assert.deepEqual(await open().blob(id).read(20, 10, ON_DEMAND), BYTES.slice(20, 30));
      assert.deepEqual(asked(), isOfHost ? [0, 1, 0] : [1, 0, 0], "another image");
      clock.nowMs += isOfHost ? 30_000 : 5 * 60_000;
      await blob.read(30, 10, ON_DEMAND);
      assert.deepEqual(asked(), [1, 0, 0], "after a while");
    }));
}

Deno.test("a failed mirror leaves the other mirrors, and finally the upstream", () =>
  withMirrors({}, async ({ open, id, asked, mirrors: [first, second] }) => {
    await Promise.all([first.goDown(), second.goDown()]);
    assert.deepEqual(await open().blob(id).read(0, 10, ON_DEMAND), BYTES.slice(0, 10));
    assert.deepEqual(asked(), [0, 0, 1]);
    await Promise.all([first.comeBack(), second.comeBack()]);
  }));

Deno.test("a failed round is retried, and the error names every host, the upstream first", () =>
  withMirrors({ retries: 1 }, async ({ open, id, asked, upstream, mirrors: [first, second] }) => {
    first.lasting = second.lasting = { kind: "status", status: 502 };
    upstream.faults.push({ kind: "status", status: 500 });
    assert.deepEqual(await open().blob(id).read(0, 10, ON_DEMAND), BYTES.slice(0, 10));
    assert.deepEqual(asked(), [2, 2, 2]);
    upstream.lasting = { kind: "status", status: 404 };
    const error = await refuses(open().blob(id).read(0, 10, ON_DEMAND), "not-found");
    const host = upstream.host.replaceAll(".", "\\.");
    assert.match(
      error.message,
      new RegExp(
        `^Cannot read blob ${id} from registry ${host}/team/app: HTTP 404 from ${host}; ` +
          `mirror ${first.host}: HTTP 502 from ${first.host}; mirror ${second.host}: HTTP 502 from ${second.host}$`,
      ),
    );
    assert.deepEqual(asked(), [1, 1, 1], "a blob that the upstream lacks is not requested again");
  }));

Deno.test("each host receives only its own credentials", () =>
  withMirrors({
    upstream: { auth: "basic", user: "up", password: "upstream-secret" },
    mirror: { auth: "bearer", user: "mirror", password: "mirror-secret" },
  }, async ({ open, id, asked, upstream, mirrors: [first, second] }) => {
    const passwords = new Map([[upstream.host, "upstream-secret"], [first.host, "mirror-secret"]]);
    const keychain: Keychain = {
      resolve: (host) => {
        const password = passwords.get(host);
        const user = host === upstream.host ? "up" : "mirror";
        return Promise.resolve(password === undefined ? undefined : basic(user, password));
      },
    };
    await open({}, keychain).blob(id).read(0, 10, ON_DEMAND);
    assert.equal(upstream.requests.length, 0);
    passwords.delete(first.host);
    second.lasting = { kind: "status", status: 404 };
    const auth = btoa("up:upstream-secret");
    await open({ auth }, keychain).blob(id).read(0, 10, ON_DEMAND);
    assert.equal(asked()[2], 2, "one mirror refuses it, the other lacks it");
    await open({ registryToken: "upstream-token" }, keychain).blob(id).read(0, 10, ON_DEMAND);
    const secretsAt = (registry: FakeRegistry) =>
      registry.requests.map(({ headers }) => headers.authorization).filter((value) => value !== undefined).join();
    assert.doesNotMatch(secretsAt(first), new RegExp(`${auth}|upstream-token`));
    assert.match(secretsAt(first), new RegExp(btoa("mirror:mirror-secret")));
    assert.equal(secretsAt(second), "");
    assert.doesNotMatch(secretsAt(upstream), new RegExp(btoa("mirror:mirror-secret")));
    assert.match(secretsAt(upstream), new RegExp(auth));
  }));

Deno.test("a host that served wrong bytes is no longer requested first for that blob", () =>
  withMirrors({}, async ({ open, id, asked, mirrors: [first] }) => {
    const blob = open().blob(id);
    first.faults.push({ kind: "corrupt" });
    assert.notDeepEqual(await blob.read(0, 10, ON_DEMAND), BYTES.slice(0, 10));
    assert.deepEqual(await blob.read(0, 10, { ...ON_DEMAND, corruptResponses: 1 }), BYTES.slice(0, 10));
    await blob.read(20, 10, ON_DEMAND);
    assert.deepEqual(asked(), [1, 2, 0]);
  }));

Deno.test("content with a wrong digest is requested from the next host", () =>
  withMirrors({}, async ({ open, id, asked, mirrors: [first, second], upstream }) => {
    first.replaceBlob(id, new Uint8Array(BYTES.length));
    const { transport } = open();
    const descriptor = { digest: parseDigest(`sha256:${id}`), size: BYTES.length };
    assert.deepEqual(await getSmallBlob(transport, descriptor, { maxBytes: 1 << 20 }), BYTES);
    assert.deepEqual(asked(), [1, 1, 0]);
    second.replaceBlob(id, new Uint8Array(BYTES.length));
    upstream.replaceBlob(id, new Uint8Array(BYTES.length));
    await refuses(getSmallBlob(transport, descriptor, { maxBytes: 1 << 20 }), "corrupt");
  }));

Deno.test("a mirror without resolve is not requested for tags, one without pull not for blobs", () =>
  withMirrors({}, async ({ open, id, asked, write, upstream, mirrors: [first, second] }) => {
    for (const registry of [upstream, first, second]) registry.addManifest("latest", INDEX_TYPE, INDEX);
    write(
      `[host."${first.url}"]\ncapabilities = ["pull"]\n[host."${second.url}"]\ncapabilities = ["resolve"]\n`,
    );
    const backend = open();
    const { digest } = await getManifest(backend.transport, "latest");
    assert.deepEqual(asked(), [0, 1, 0]);
    await backend.blob(id).read(0, 10, ON_DEMAND);
    assert.deepEqual(asked(), [1, 0, 0]);
    first.addManifest(digest, INDEX_TYPE, INDEX);
    assert.equal((await getManifest(backend.transport, digest)).digest, digest);
    assert.deepEqual(asked(), [1, 0, 0]);
  }));

Deno.test("override_path, headers and paths of a mirror apply to that mirror only", () =>
  withMirrors({}, async ({ open, id, write, upstream, mirrors: [first, second] }) => {
    write(`
[host."${first.url}/v2/proxy/hub"]
override_path = true
[host."${first.url}/v2/proxy/hub".header]
X-Key = "header-secret"
[host."${second.url}/v2"]
`);
    first.store = upstream;
    const blob = open().blob(id);
    assert.deepEqual(await blob.read(0, 10, ON_DEMAND), BYTES.slice(0, 10));
    assert.deepEqual(await blob.read(10, 10, ON_DEMAND), BYTES.slice(10, 20));
    assert.deepEqual(first.requests.map(({ path }) => path), [`/v2/proxy/hub/team/app/blobs/sha256:${id}`]);
    assert.equal(first.requests[0]?.headers["x-key"], "header-secret");
    assert.deepEqual(upstream.requests.map(({ path, headers }) => [path, headers["x-key"]]), [
      [`/store/${id}`, undefined],
      [`/store/${id}`, undefined],
    ], "the store's address is remembered for the mirror");
    await first.goDown();
    first.store = undefined;
    await open().blob(id).read(0, 1, ON_DEMAND);
    assert.deepEqual(second.requests.map(({ path }) => path), [`/v2/team/app/blobs/sha256:${id}`]);
    await first.comeBack();
  }));

Deno.test("a server key replaces the upstream and receives none of the registry's credentials", () =>
  withMirrors({}, async ({ open, id, asked, write, mirrors: [first] }) => {
    write(`server = "${first.url}"`);
    await open({ registryToken: "upstream-token" }).blob(id).read(0, 10, ON_DEMAND);
    assert.deepEqual(asked(), [1, 0, 0]);
    assert.equal(first.requests[0]?.headers.authorization, undefined);
    assert.match(first.requests[0]?.query.get("ns") ?? "", /^127/);
  }));

Deno.test("an operation that no host is allowed to serve is an error that says so", () =>
  withMirrors({}, async ({ open, id, write }) => {
    write(`capabilities = ["resolve"]`);
    await refuses(
      open().blob(id).size(),
      "unavailable",
      /^Cannot use registry .*: its hosts\.toml allows no host for this request$/,
    );
  }));

Deno.test("an invalid hosts file keeps its registry from being opened", () =>
  withMirrors({}, ({ open, write }) => {
    write(`server = 1`);
    assert.throws(() => open(), /hosts\.toml: server must be a string/);
    return Promise.resolve();
  }));

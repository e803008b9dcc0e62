import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, refuses } from "../../../tests/support/backend/backend_world.ts";
import { basic, identityToken } from "../../../tests/support/backend/credentials.ts";
import { FakeRegistry, type FakeRegistryOptions } from "../../../tests/support/backend/fake_registry.ts";
import type { Fault } from "../../../tests/support/backend/faults.ts";
import { until } from "../../../tests/support/until.ts";
import { type BackendDeps, openRegistry, type RegistryLocation } from "../open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import type { Credential } from "./credential.ts";
import { ANONYMOUS, staticKeychain } from "./keychain.ts";

const BYTES = distinctBytes(300_000);
const USER = { user: "bob", password: "pass:word" } as const;
const BASIC = basic(USER.user, USER.password);

interface World {
  readonly registry: FakeRegistry;
  readonly id: string;
  readonly deps: BackendDeps;
  open(location?: Partial<RegistryLocation>): ReturnType<typeof openRegistry>;
}

interface WorldOptions extends FakeRegistryOptions {
  readonly credential?: Credential;
  readonly fetch?: Partial<typeof DEFAULT_FETCH_OPTIONS>;
}

async function withRegistry(options: WorldOptions, test: (world: World) => Promise<void>): Promise<void> {
  await using registry = await FakeRegistry.start(options);
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, ...options.fetch });
  const keychain = options.credential === undefined ? ANONYMOUS : staticKeychain(options.credential);
  const deps: BackendDeps = { http, keychain, certsDir: "/nonexistent" };
  await test({
    registry,
    id: registry.addBlob(BYTES),
    deps,
    open: (location = {}) => openRegistry({ host: registry.host, repo: "team/app", scheme: "http", ...location }, deps),
  });
}

function part(offset: number, length: number): Uint8Array {
  return BYTES.slice(offset, offset + length);
}

Deno.test("ranges and the size of a blob are read", () =>
  withRegistry({}, async ({ open, id }) => {
    const blob = open().blob(id);
    assert.equal(await blob.size(), BYTES.length);
    assert.deepEqual(await blob.read(0, BYTES.length, ON_DEMAND), BYTES);
    assert.deepEqual(await blob.read(70_000, 5, ON_DEMAND), part(70_000, 5));
    assert.equal((await blob.read(5, 0, ON_DEMAND)).length, 0);
  }));

Deno.test("a loopback registry without TLS is detected", () =>
  withRegistry({}, async ({ open, id }) => {
    const blob = open({ scheme: undefined }).blob(id);
    const reads = [1, 2, 3, 4].map((offset) => blob.read(offset, 10, ON_DEMAND));
    assert.deepEqual(await Promise.all(reads), [1, 2, 3, 4].map((offset) => part(offset, 10)));
  }));

Deno.test("a registry that is configured as https is not requested over plain HTTP", () =>
  withRegistry({ fetch: { retries: 0 } }, async ({ registry, open, id }) => {
    await refuses(open({ scheme: "https" }).blob(id).size(), "unavailable", /does not speak TLS/);
    assert.equal(registry.requests.length, 0);
  }));

const MENDED: readonly [name: string, fault: Fault][] = [
  ["a body that is cut off", { kind: "truncate", keep: 10 }],
  ["a body that is too short", { kind: "resize", by: -1 }],
  ["a body that is too long", { kind: "resize", by: 1 }],
  ["a Content-Range of other bytes", { kind: "content-range", value: `bytes 101-200/${BYTES.length}` }],
  ["an invalid Content-Range", { kind: "content-range", value: "bytes */7" }],
  ["no Content-Range", { kind: "content-range", value: undefined }],
  ["status 500", { kind: "status", status: 500 }],
  ["status 429", { kind: "status", status: 429, headers: { "retry-after": "0" } }],
  ["status 204", { kind: "status", status: 204 }],
  ["a 200 with another document", { kind: "status", status: 200, body: "<html>log in</html>" }],
  ["a lost connection", { kind: "reset" }],
  ["a Content-Range beyond the blob", { kind: "content-range", value: "bytes 100-199/150" }],
  ["a response that is not HTTP", { kind: "raw", text: "hello\r\n\r\n" }],
  ["headers without an end", { kind: "raw", text: "HTTP/1.1 206 OK\r\n", endless: `X-More: ${"x".repeat(9_000)}\r\n` }],
  ["a body without an end", {
    kind: "raw",
    text: "HTTP/1.1 206 OK\r\nContent-Range: bytes 100-199/300000\r\n\r\n",
    endless: "x".repeat(9_000),
  }],
  ["an encoded body", { kind: "status", status: 206, headers: { "content-encoding": "gzip" }, body: "x" }],
];
for (const [name, fault] of MENDED) {
  Deno.test(`a request is retried after ${name}`, () =>
    withRegistry({}, async ({ registry, open, id }) => {
      registry.faults.push(fault, fault);
      assert.deepEqual(await open().blob(id).read(100, 100, ON_DEMAND), part(100, 100));
      assert.equal(registry.faults.length, 0);
    }));
}

for (const kind of ["chunked", "http-1.0"] as const) {
  Deno.test(`a ${kind} response is read, and so are those after it`, () =>
    withRegistry({ fetch: { retries: 0 } }, async ({ registry, open, id }) => {
      registry.faults.push({ kind }, { kind });
      const blob = open().blob(id);
      for (const at of [0, 100, 200]) assert.deepEqual(await blob.read(at, 100, ON_DEMAND), part(at, 100));
    }));
}

Deno.test("concurrent readers use no more connections than parallel_per_host", () =>
  withRegistry({ fetch: { parallelPerHost: 3 } }, async ({ registry, open, id }) => {
    const blob = open().blob(id);
    for (let round = 0; round < 3; round++) {
      await Promise.all(Array.from({ length: 30 }, (_, at) => blob.read(at, 50, ON_DEMAND)));
    }
    assert.ok(registry.connections <= 3, `${registry.connections} connections`);
  }));

Deno.test("a persistent fault is an error after the retries", () =>
  withRegistry({ fetch: { retries: 2 } }, async ({ registry, open, id }) => {
    for (let i = 0; i < 5; i++) registry.faults.push({ kind: "status", status: 503 });
    await refuses(
      open().blob(id).read(0, 10, ON_DEMAND),
      "unavailable",
      new RegExp(`^Cannot read blob ${id} from registry 127\\.0\\.0\\.1:\\d+/team/app: HTTP 503 from 127`),
    );
    assert.equal(registry.faults.length, 2);
  }));

Deno.test("a 200 response with the whole blob is cut to the range", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    registry.faults.push({ kind: "whole" }, { kind: "whole" });
    const blob = open().blob(id);
    assert.deepEqual(await blob.read(1000, 50, ON_DEMAND), part(1000, 50));
    assert.deepEqual(await blob.read(0, BYTES.length, ON_DEMAND), BYTES);
    assert.equal(registry.count("GET", "/v2/"), 2);
  }));

Deno.test("wrong bytes are passed on: digests are checked by lib/blob", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    registry.faults.push({ kind: "corrupt" });
    assert.deepEqual(await open().blob(id).read(0, 3, ON_DEMAND), part(0, 3).map((byte) => byte ^ 0xff));
  }));

Deno.test("a silent server is given up after the read timeout, which the error names", () =>
  withRegistry({ fetch: { retries: 0, readTimeoutMs: 500 } }, async ({ registry, open, id }) => {
    registry.faults.push({ kind: "stall" }, { kind: "stall", after: 20 });
    const blob = open().blob(id);
    await refuses(blob.read(0, 100, ON_DEMAND), "unavailable", /read from .* timed out after 500 ms/);
    await refuses(blob.read(0, 100, ON_DEMAND), "unavailable", /read from .* timed out after 500 ms/);
    assert.deepEqual(await blob.read(0, 100, ON_DEMAND), part(0, 100));
  }));

Deno.test("a whole transfer has its own limit where one is configured", () =>
  withRegistry({ fetch: { retries: 0 } }, async ({ registry, open, id }) => {
    registry.faults.push({ kind: "stall", after: 20 });
    await refuses(open({ timeoutMs: 60 }).blob(id).read(0, 100, ON_DEMAND), "unavailable", /transfer .* after 60 ms/);
  }));

Deno.test("a host that accepts but does not answer fails by the connect timeout under TLS", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0, connectTimeoutMs: 50 });
  const host = `127.0.0.1:${listener.addr.port}`;
  const backend = openRegistry({ host, repo: "r", scheme: "https" }, { http, keychain: ANONYMOUS });
  await refuses(backend.blob("0".repeat(64)).size(), "unavailable", /connect from .* timed out after 50 ms/);
});

Deno.test("a refused connection is unavailable, and reads work when the registry is back", async () => {
  const port = (() => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return listener.addr.port;
  })();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 1 });
  const backend = openRegistry({ host: `127.0.0.1:${port}`, repo: "r" }, { http, keychain: ANONYMOUS });
  const error = await refuses(
    backend.blob("0".repeat(64)).size(),
    "unavailable",
    /connection to 127\.0\.0\.1:\d+ refused$/,
  );
  assert.match(error.hint ?? "", /^nothing is listening there: .* the address 127\.0\.0\.1:\d+$/);
});

Deno.test("a missing blob is not-found, without a retry", () =>
  withRegistry({}, async ({ registry, open }) => {
    const blob = open().blob("0".repeat(64));
    await refuses(blob.read(0, 1, ON_DEMAND), "not-found", /HTTP 404 BLOB_UNKNOWN/);
    await refuses(blob.size(), "not-found");
    assert.equal(registry.requests.length, 2);
  }));

Deno.test("a range past the end is an error, without a retry", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    await refuses(open().blob(id).read(BYTES.length, 1, ON_DEMAND), "unavailable", /HTTP 416/);
    assert.equal(registry.requests.length, 1);
  }));

Deno.test("an id that is not a sha256 is refused without a request", () =>
  withRegistry({}, ({ open }) => {
    for (const id of ["", "x", "../../secret", "A".repeat(64)]) {
      assert.throws(() => open().blob(id), /not a sha256 digest/);
    }
    return Promise.resolve();
  }));

Deno.test("an aborted read ends its request and fails as interrupted", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    registry.faults.push({ kind: "stall", after: 5 });
    const controller = new AbortController();
    const reading = open().blob(id).read(0, 100, { priority: "on-demand", signal: controller.signal });
    await until("the request arrives", () => registry.requests.length > 0);
    controller.abort();
    await refuses(reading, "interrupted");
    await refuses(open().blob(id).read(0, 1, { priority: "on-demand", signal: AbortSignal.abort() }), "interrupted");
  }));

Deno.test("Basic: user and password are sent only after a challenge, which is requested once", () =>
  withRegistry({ auth: "basic", ...USER, credential: BASIC }, async ({ registry, open, id }) => {
    const blob = open().blob(id);
    assert.deepEqual(await blob.read(0, 10, ON_DEMAND), part(0, 10));
    assert.deepEqual(await blob.read(10, 10, ON_DEMAND), part(10, 10));
    assert.equal(registry.requests.length, 3);
  }));

Deno.test("Basic: the configured auth takes precedence over the keychain", () =>
  withRegistry({ auth: "basic", ...USER, credential: basic(USER.user, "other") }, async ({ open, id }) => {
    assert.equal(await open({ auth: btoa("bob:pass:word") }).blob(id).size(), BYTES.length);
  }));

Deno.test("Basic: a wrong password is unauthorized, with a hint and without the password", () =>
  withRegistry(
    { auth: "basic", ...USER, credential: basic(USER.user, "s3cret") },
    async ({ registry, open, id }) => {
      const error = await refuses(open().blob(id).size(), "unauthorized");
      assert.equal(error.hint, `docker login ${registry.host}`);
      assert.ok(!Deno.inspect(error, { depth: 9 }).includes("s3cret"));
      await refuses(open({}).blob(id).size(), "unauthorized");
    },
  ));

Deno.test("Bearer: one token serves concurrent readers", () =>
  withRegistry({ auth: "bearer", ...USER, credential: BASIC }, async ({ registry, open, id }) => {
    const backend = open();
    const reads = Array.from({ length: 6 }, (_, i) => backend.blob(id).read(i, 20, ON_DEMAND));
    assert.deepEqual(await Promise.all(reads), Array.from({ length: 6 }, (_, i) => part(i, 20)));
    assert.equal(registry.count("GET", "/token"), 1);
    const asked = registry.requests.find((seen) => seen.path === "/token");
    assert.equal(asked?.query.get("service"), "fake");
    assert.equal(asked?.query.get("scope"), "repository:team/app:pull,push");
    assert.equal(asked?.query.get("account"), "bob");
  }));

Deno.test("Bearer: anonymous readers obtain a token too", () =>
  withRegistry({ auth: "bearer" }, async ({ registry, open, id }) => {
    assert.equal(await open().blob(id).size(), BYTES.length);
    assert.equal(registry.requests.find((seen) => seen.path === "/token")?.headers.authorization, undefined);
  }));

for (const silentRefusal of [false, true]) {
  Deno.test(`Bearer: a token refused midway is replaced${silentRefusal ? ", even without a challenge" : ""}`, () =>
    withRegistry({ auth: "bearer", ...USER, credential: BASIC, silentRefusal }, async ({ registry, open, id }) => {
      const blob = open().blob(id);
      await blob.read(0, 10, ON_DEMAND);
      registry.expireTokens();
      const reads = [1, 2, 3].map((offset) => blob.read(offset, 10, ON_DEMAND));
      assert.deepEqual(await Promise.all(reads), [1, 2, 3].map((offset) => part(offset, 10)));
      assert.ok(registry.count("GET", "/token") >= 2);
    }));
}

Deno.test("Bearer: an identity token is exchanged by POST", () =>
  withRegistry(
    {
      auth: "bearer",
      ...USER,
      identityToken: "long-lived",
      credential: identityToken("long-lived"),
    },
    async ({ registry, open, id }) => {
      assert.equal(await open().blob(id).size(), BYTES.length);
      assert.equal(registry.count("POST", "/token"), 1);
      assert.equal(registry.count("GET", "/token"), 0);
    },
  ));

Deno.test("Bearer: a configured registry token is tried first, and replaced when it is refused", () =>
  withRegistry({ auth: "bearer" }, async ({ registry, open, id }) => {
    assert.equal(await open({ registryToken: "stale-token" }).blob(id).size(), BYTES.length);
    assert.ok(registry.requests.some((seen) => seen.headers.authorization === "Bearer stale-token"));
  }));

Deno.test("Bearer: a refusal of the token server is unauthorized, without the password", () =>
  withRegistry({ auth: "bearer", ...USER, credential: basic(USER.user, "s3cret") }, async ({ open, id }) => {
    const error = await refuses(open().blob(id).size(), "unauthorized");
    const shown = Deno.inspect(error, { depth: 9 });
    assert.ok(!shown.includes("s3cret") && !shown.includes(btoa("bob:s3cret")), shown);
  }));

Deno.test("a redirect is followed without the credential and remembered", () =>
  withRegistry({ auth: "bearer", ...USER, credential: BASIC }, async ({ registry, open, id }) => {
    await using store = await FakeRegistry.start();
    store.addBlob(BYTES);
    registry.store = store;
    const blob = open().blob(id);
    for (let i = 0; i < 5; i++) assert.deepEqual(await blob.read(i, 10, ON_DEMAND), part(i, 10));
    assert.equal(store.count("GET", "/store/"), 5);
    assert.deepEqual(store.requests.map((seen) => seen.headers.authorization), Array(5).fill(undefined));
    assert.equal(registry.count("GET", "/v2/"), 2);
  }));

Deno.test("an expired redirect is requested from the registry again", () =>
  withRegistry({ fetch: { retries: 0 } }, async ({ registry, open, id }) => {
    await using store = await FakeRegistry.start();
    store.addBlob(BYTES);
    registry.store = store;
    const blob = open().blob(id);
    await blob.read(0, 10, ON_DEMAND);
    store.signatures.clear();
    store.signatures.add("another");
    assert.deepEqual(await blob.read(10, 10, ON_DEMAND), part(10, 10));
    assert.equal(registry.count("GET", "/v2/"), 2);
  }));

Deno.test("a refusal of the redirect target is unauthorized, with neither login hint nor signature", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    await using store = await FakeRegistry.start();
    registry.faults.push({ kind: "redirect", location: `${store.url}/store/${id}?signature=s3cret` });
    store.signatures.add("another");
    const error = await refuses(open().blob(id).read(0, 1, ON_DEMAND), "unauthorized", /HTTP 403 from/);
    assert.equal(error.hint, undefined);
    assert.ok(!Deno.inspect(error, { depth: 9 }).includes("s3cret"));
  }));

Deno.test("endless redirects are given up", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    for (let i = 0; i < 20; i++) {
      registry.faults.push({ kind: "redirect", location: `/v2/team/app/blobs/sha256:${id}` });
    }
    await refuses(open().blob(id).read(0, 1, ON_DEMAND), "unavailable", /more than 5 redirects/);
    assert.equal(registry.requests.length, 6);
  }));

for (const location of ["file:///etc/passwd", "http://[bad", "gopher://127.0.0.1/"]) {
  Deno.test(`a redirect to ${location} is not followed`, () =>
    withRegistry({ fetch: { retries: 0 } }, async ({ registry, open, id }) => {
      registry.faults.push({ kind: "redirect", location });
      await refuses(open().blob(id).read(0, 1, ON_DEMAND), "unavailable", /HTTP 307/);
    }));
}

Deno.test("scheme and host of a redirect are replaced where the configuration says so", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    await using store = await FakeRegistry.start();
    store.addBlob(BYTES);
    registry.faults.push({ kind: "redirect", location: `https://unreachable.invalid:444/store/${id}` });
    const blob = open({ blobUrlScheme: "http", blobRedirectedHost: store.host }).blob(id);
    assert.deepEqual(await blob.read(0, 4, ON_DEMAND), part(0, 4));
  }));

Deno.test("on-demand reads take precedence over waiting prefetches", () =>
  withRegistry({ fetch: { parallelPerHost: 1 } }, async ({ registry, open, id }) => {
    const blob = open().blob(id);
    await Promise.all([
      blob.read(1, 1, { priority: "prefetch" }),
      blob.read(2, 1, { priority: "prefetch" }),
      blob.read(3, 1, { priority: "prefetch" }),
      blob.read(4, 1, ON_DEMAND),
    ]);
    const order = registry.requests.map((seen) => seen.headers.range);
    assert.deepEqual(order, ["bytes=1-1", "bytes=4-4", "bytes=2-2", "bytes=3-3"]);
  }));

Deno.test("an idle connection that the server closed does not count as a failure", () =>
  withRegistry({ fetch: { retries: 0 } }, async ({ registry, open, id }) => {
    const blob = open().blob(id);
    await blob.read(0, 10, ON_DEMAND);
    registry.dropConnections();
    assert.deepEqual(await blob.read(10, 10, ON_DEMAND), part(10, 10));
  }));

Deno.test("consecutive requests share one connection", () =>
  withRegistry({}, async ({ registry, open, id }) => {
    const blob = open().blob(id);
    for (let i = 0; i < 3; i++) {
      await blob.size();
      await blob.read(i, 70_000, ON_DEMAND);
    }
    await refuses(open().blob("0".repeat(64)).size(), "not-found");
    await blob.size();
    assert.equal(registry.connections, 1);
  }));

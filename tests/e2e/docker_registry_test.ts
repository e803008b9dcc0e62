/**
 * The registry backend against Debian's docker-registry: the same reads with every kind of login and connection.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createSign, randomUUID } from "node:crypto";
import { join } from "node:path";
import { type BackendDeps, openRegistry, type RegistryLocation } from "../../lib/backend/open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { ANONYMOUS, DockerKeychain, type Keychain, staticKeychain } from "../../lib/backend/registry/keychain.ts";
import { getManifest, getSmallBlob, hasManifest } from "../../lib/backend/registry/manifest.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { parseDigest } from "../../lib/oci/digest.ts";
import { MEDIA_TYPE } from "../../lib/oci/media_types.ts";
import { basic } from "../support/backend/credentials.ts";
import { DockerRegistry, dockerRegistryMissing, TEST_USER } from "../support/backend/docker_registry.ts";
import { type Pushed, RegistryClient } from "../support/backend/registry_client.ts";
import { CERTIFICATE_FILE, TLS } from "../support/backend/tls_fixture.ts";

const ON_DEMAND = { priority: "on-demand" } as const;
const BYTES = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 31 + (i >> 11)) & 0xff);
const BASIC = { authorization: `Basic ${btoa(`${TEST_USER.user}:${TEST_USER.password}`)}` };

if (dockerRegistryMissing !== undefined) console.log(`skipped: ${dockerRegistryMissing}`);
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: dockerRegistryMissing !== undefined, fn });
}

async function withClient(keychain: Keychain, fn: (deps: BackendDeps) => Promise<void>, retries = 3): Promise<void> {
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries });
  await fn({ http, keychain, certsDir: "/nonexistent" });
}

/** Reads at several places, concurrently and sequentially. */
async function readsWell(location: RegistryLocation, pushed: Pushed, deps: BackendDeps): Promise<void> {
  const blob = openRegistry(location, deps).blob(pushed.digest.replace("sha256:", ""));
  assert.equal(await blob.size(), BYTES.length);
  const ranges = [[0, 1], [0, BYTES.length], [BYTES.length - 1, 1], [123_456, 65_536], [1, 2_000_000]] as const;
  await Promise.all(ranges.map(async ([offset, length]) => {
    const bytes = await blob.read(offset, length, ON_DEMAND);
    assert.ok(Buffer.from(bytes).equals(BYTES.subarray(offset, offset + length)), `${length} bytes at ${offset}`);
  }));
}

test("an open loopback registry is read without a configured scheme", async () => {
  await using registry = await DockerRegistry.start();
  const pushed = await new RegistryClient(registry.url, "team/app").pushBlob(BYTES);
  await withClient(ANONYMOUS, async (deps) => {
    await readsWell({ host: registry.host, repo: "team/app" }, pushed, deps);
    await readsWell({ host: `localhost:${registry.port}`, repo: "team/app" }, pushed, deps);
    const other = openRegistry({ host: registry.host, repo: "other" }, deps).blob(pushed.digest.slice(7));
    await assert.rejects(other.read(0, 1, ON_DEMAND), (error) => hasCode(error, "not-found"));
  });
});

test("a registry with Basic authentication is read with the login of docker login", async () => {
  await using registry = await DockerRegistry.start({ basicAuth: true });
  const pushed = await new RegistryClient(registry.url, "app", BASIC).pushBlob(BYTES);
  const configDir = await Deno.makeTempDir();
  try {
    const auth = btoa(`${TEST_USER.user}:${TEST_USER.password}`);
    await Deno.writeTextFile(join(configDir, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    await withClient(
      new DockerKeychain({ configDir }),
      (deps) => readsWell({ host: registry.host, repo: "app" }, pushed, deps),
    );
  } finally {
    await Deno.remove(configDir, { recursive: true });
  }
  await withClient(ANONYMOUS, async (deps) => {
    const blob = openRegistry({ host: registry.host, repo: "app" }, deps).blob(pushed.digest.slice(7));
    await assert.rejects(
      blob.size(),
      (error) => hasCode(error, "unauthorized") && error.hint?.startsWith("docker login"),
    );
    const auth = btoa("alice:wrong");
    const wrong = openRegistry({ host: registry.host, repo: "app", auth }, deps).blob(pushed.digest.slice(7));
    await assert.rejects(wrong.size(), (error) => hasCode(error, "unauthorized") && !error.message.includes("wrong"));
  });
});

test("a registry with a token server is read, also after tokens expire", async () => {
  await using tokens = new TokenServer();
  await using registry = await DockerRegistry.start({ tokenAuth: tokens.settings });
  const push = { authorization: `Bearer ${tokens.token("app", ["pull", "push"], 60)}` };
  const pushed = await new RegistryClient(registry.url, "app", push).pushBlob(BYTES);
  const { user, password } = TEST_USER;
  await withClient(staticKeychain(basic(user, password)), async (deps) => {
    const location = { host: registry.host, repo: "app" };
    await readsWell(location, pushed, deps);
    assert.equal(tokens.asked, 1);
    const stale = { ...location, registryToken: tokens.token("app", ["pull"], -600) };
    await readsWell(stale, pushed, deps);
    assert.equal(tokens.asked, 2);
  });
  await withClient(staticKeychain(basic(user, "wrong")), async (deps) => {
    const blob = openRegistry({ host: registry.host, repo: "app" }, deps).blob(pushed.digest.slice(7));
    await assert.rejects(blob.size(), (error) => hasCode(error, "unauthorized"));
  });
});

test("a registry with TLS is read only if its certificate is trusted", async () => {
  const folder = await Deno.makeTempDir();
  const storage = join(folder, "storage");
  const pushed = await pushInto(storage, "app");
  try {
    await using registry = await DockerRegistry.start({ tls: TLS, storage });
    const location = { host: registry.host, repo: "app" };
    await withClient(ANONYMOUS, async (deps) => {
      const caCertFiles = [CERTIFICATE_FILE];
      await readsWell({ ...location, caCertFiles }, pushed, deps);
      await readsWell({ ...location, skipVerify: true }, pushed, deps);
      const untrusted = openRegistry(location, deps).blob(pushed.digest.slice(7));
      await assert.rejects(untrusted.size(), /certificate of 127\.0\.0\.1:\d+ is not trusted/);
    });
    await Deno.mkdir(join(folder, registry.host));
    await Deno.writeTextFile(join(folder, registry.host, "ca.crt"), TLS.certificate);
    await withClient(ANONYMOUS, (deps) => readsWell(location, pushed, { ...deps, certsDir: folder }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("manifests are read by tag and by digest, and verified", async () => {
  await using registry = await DockerRegistry.start();
  const client = new RegistryClient(registry.url, "app");
  const config = await client.pushBlob(new TextEncoder().encode('{"rootfs":{"type":"layers","diff_ids":[]}}'));
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: { mediaType: MEDIA_TYPE.ociConfig, ...config },
    layers: [],
  };
  const pushed = await client.pushManifest("1.0", MEDIA_TYPE.ociManifest, document);
  await withClient(ANONYMOUS, async (deps) => {
    const { transport } = openRegistry({ host: registry.host, repo: "app" }, deps);
    const byTag = await getManifest(transport, "1.0");
    assert.equal(byTag.digest, pushed.digest);
    assert.ok(byTag.document.kind === "manifest");
    assert.equal(byTag.document.manifest.config.digest, config.digest);
    assert.deepEqual((await getManifest(transport, pushed.digest)).bytes, byTag.bytes);
    const text = await getSmallBlob(transport, byTag.document.manifest.config, { maxBytes: 4096 });
    assert.equal(JSON.parse(new TextDecoder().decode(text)).rootfs.type, "layers");
    assert.equal(await hasManifest(transport, "1.0"), true);
    assert.equal(await hasManifest(transport, "2.0"), false);
    await assert.rejects(getManifest(transport, "2.0"), (error) => hasCode(error, "not-found"));
    const missing = parseDigest(`sha256:${"0".repeat(64)}`);
    await assert.rejects(getManifest(transport, missing), (error) => hasCode(error, "not-found"));
  });
});

test("a registry is read again after an outage", async () => {
  const storage = await Deno.makeTempDir();
  try {
    let port: number;
    let pushed: Pushed;
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 1 });
    const open = (port: number) =>
      openRegistry({ host: `127.0.0.1:${port}`, repo: "app" }, { http, keychain: ANONYMOUS });
    let blob;
    {
      await using registry = await DockerRegistry.start({ storage });
      port = registry.port;
      pushed = await new RegistryClient(registry.url, "app").pushBlob(BYTES);
      blob = open(port).blob(pushed.digest.slice(7));
      await blob.read(0, 10, ON_DEMAND);
    }
    await assert.rejects(blob.read(10, 10, ON_DEMAND), (error) => hasCode(error, "unavailable"));
    await using _registry = await DockerRegistry.start({ storage, port });
    assert.deepEqual(await blob.read(10, 10, ON_DEMAND), BYTES.slice(10, 20));
  } finally {
    await Deno.remove(storage, { recursive: true });
  }
});

/** Fills the storage of a registry that is started later. */
async function pushInto(storage: string, repository: string): Promise<Pushed> {
  await using registry = await DockerRegistry.start({ storage });
  return await new RegistryClient(registry.url, repository).pushBlob(BYTES);
}

/** A token server as the distribution project specifies it, with a signature that docker-registry trusts. */
class TokenServer implements AsyncDisposable {
  /** Number of requested tokens. */
  asked = 0;
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => this.#answer(request),
  );

  get settings() {
    const realm = `http://127.0.0.1:${this.#server.addr.port}/token`;
    return { realm, service: "test-service", issuer: "test-issuer", rootCertificate: TLS.certificate };
  }

  /** A JSON Web Token for one repository. */
  token(repository: string, actions: readonly string[], lifetimeSeconds: number): string {
    const now = Math.floor(Date.now() / 1000);
    const certificate = TLS.certificate.replace(/-----[^-]+-----|\s/g, "");
    const head = { typ: "JWT", alg: "RS256", x5c: [certificate] };
    const body = {
      iss: "test-issuer",
      sub: TEST_USER.user,
      aud: "test-service",
      exp: now + lifetimeSeconds,
      nbf: now - 3600,
      iat: now - 3600,
      jti: randomUUID(),
      access: [{ type: "repository", name: repository, actions }],
    };
    const text = [head, body].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${text}.${createSign("RSA-SHA256").update(text).sign(TLS.key).toString("base64url")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #answer(request: Request): Response {
    if (request.headers.get("authorization") !== BASIC.authorization) return new Response("{}", { status: 401 });
    const query = new URL(request.url).searchParams;
    const [, repository = "", actions = ""] = /^repository:(.+):([a-z,]+)$/.exec(query.get("scope") ?? "") ?? [];
    if (query.get("service") !== "test-service") return new Response("{}", { status: 400 });
    this.asked++;
    return Response.json({ token: this.token(repository, actions.split(","), 60), expires_in: 60 });
  }
}

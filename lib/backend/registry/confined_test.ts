import assert from "node:assert/strict";
import { ON_DEMAND } from "../../../tests/support/backend/backend_world.ts";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry } from "../open_backend.ts";
import { Mirrors } from "./certs_dir.ts";
import { parseChallenges } from "./challenge.ts";
import { InsecureRegistries } from "./insecure_registries.ts";
import { ANONYMOUS } from "./keychain.ts";
import { TokenSource } from "./token.ts";

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

Deno.test("a registry of an insecure network may be named by an image, but cannot redirect to this machine", () =>
  unasked(async (victim, http) => {
    using dir = TempDir.make();
    Deno.writeTextFileSync(dir.join("daemon.json"), '{"insecure-registries": ["10.0.0.0/8"]}');
    const deps = { http, keychain: ANONYMOUS, insecure: new InsecureRegistries(dir.join("daemon.json")) };
    const { transport } = openRegistry({ host: "10.1.2.3:5000", repo: "app", confined: true }, deps);
    const startAt = new URL(`${victim.url}/store/x`);
    const redirected = { method: "GET", path: "/v2/", what: "read it", startAt } as const;
    await assert.rejects(transport.request(redirected, ON_DEMAND, () => Promise.resolve()), REFUSAL);
  }));

Deno.test("a confined request may go to the host that is freed, and to no other", async () => {
  await using freed = await FakeRegistry.start();
  await using other = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  const options = { ...ON_DEMAND, confined: true, freedHost: freed.host };
  const ask = (url: string) =>
    http.exchange({ method: "GET", url: new URL(`${url}/v2/`) }, options, ({ status }) => Promise.resolve(status));
  assert.equal(await ask(freed.url), 200);
  await assert.rejects(ask(other.url), REFUSAL);
  assert.equal(other.connections, 0);
});

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

Deno.test("the operator's hosts.toml frees mirrors of any registry, and a registry of its own", async () => {
  await using registry = await FakeRegistry.start();
  await using mirror = await FakeRegistry.start();
  const id = registry.addBlob(new Uint8Array(7)), mirrored = mirror.addBlob(new Uint8Array(8));
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  using dir = TempDir.make();
  const write = (name: string, text: string) => {
    Deno.mkdirSync(dir.join(name));
    Deno.writeTextFileSync(dir.join(`${name}/hosts.toml`), text);
  };
  const deps = { http, keychain: ANONYMOUS, certsDir: dir.join("none"), mirrors: new Mirrors([dir.path]) };
  const open = (host: string) => openRegistry({ host, repo: "app", confined: true }, deps);
  await assert.rejects(open(registry.host).blob(id).size(), REFUSAL);
  write("_default", `[host."${mirror.url}"]`);
  assert.equal(await open("registry.example.com").blob(mirrored).size(), 8);
  await assert.rejects(open(registry.host).blob(id).size(), REFUSAL);
  write(registry.host, `server = "${registry.url}"`);
  assert.equal(await open(registry.host).blob(id).size(), 7);
});

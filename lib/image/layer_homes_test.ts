import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { FakeRegistry } from "../../tests/support/fake_registry.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { parseNydusdConfig } from "../backend/nydusd_config.ts";
import type { BackendDeps } from "../backend/open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../backend/http/fetch_options.ts";
import { HttpClient } from "../backend/http/http_client.ts";
import { ANONYMOUS } from "../backend/registry/keychain.ts";
import { homesOf } from "./layer_homes.ts";

const DIFF_ID = `sha256:${"ab".repeat(32)}`;

/** A data-root of Docker with a record for {@link DIFF_ID}. */
async function withDocker(
  record: string | undefined,
  test: (
    layer: { id: string; bootstrapPath: string; diffId: string; home: string },
    deps: BackendDeps,
  ) => Promise<void>,
): Promise<void> {
  using dir = TempDir.make();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  const path = dir.join(`image/nydus-gd/distribution/v2metadata-by-diffid/sha256/${"ab".repeat(32)}`);
  await Deno.mkdir(dirname(path), { recursive: true });
  if (record !== undefined) await Deno.writeTextFile(path, record);
  await test(
    { id: "layer", bootstrapPath: "/none", diffId: DIFF_ID, home: join(dir.path, "nydus-gd") },
    { http, keychain: ANONYMOUS, certsDir: dir.join("certs"), imagePullAuth: "" },
  );
}

const recordOf = (...repositories: string[]) =>
  JSON.stringify(
    repositories.map((name, k) => ({ Digest: `sha256:${`0${k}`.repeat(32)}`, SourceRepository: name, HMAC: "" })),
  );
const configOf = (type: string, config: Record<string, unknown>) =>
  parseNydusdConfig(JSON.stringify({ device: { backend: { type, config }, cache: {} }, mode: "direct" }));
const namesOf = (homes: readonly { description: string }[]) => homes.map(({ description }) => description);

Deno.test("a configured folder goes before what Docker recorded, the newest record first, each repository once", () =>
  withDocker(recordOf("docker.io/library/old", "localhost:5000/app", "docker.io/library/old"), async (layer, deps) => {
    const config = configOf("localfs", { dir: "/blobs" });
    assert.deepEqual(namesOf(await homesOf(layer, config, deps)), [
      "localfs of the configuration",
      "registry docker.io/library/old",
      "registry localhost:5000/app",
    ]);
    assert.deepEqual(namesOf(await homesOf(layer, undefined, deps)), [
      "registry docker.io/library/old",
      "registry localhost:5000/app",
    ]);
  }));

Deno.test("a configured registry comes last, once", () =>
  withDocker(recordOf("localhost:5000/app"), async (layer, deps) => {
    const other = configOf("registry", { host: "localhost:5000", repo: "other" });
    const same = configOf("registry", { host: "localhost:5000", repo: "app" });
    assert.deepEqual(namesOf(await homesOf(layer, other, deps)), [
      "registry localhost:5000/app",
      "registry localhost:5000/other",
    ]);
    assert.deepEqual(namesOf(await homesOf(layer, same, deps)), ["registry localhost:5000/app"]);
  }));

Deno.test("a recorded repository on the configured host is read with the login of the configuration", async () => {
  await using registry = await FakeRegistry.start({ auth: "basic", user: "u", password: "p" });
  const id = registry.addBlob(new Uint8Array(7));
  await withDocker(recordOf(`${registry.host}/app`), async (layer, deps) => {
    const config = configOf("registry", { host: registry.host, repo: "other", auth: btoa("u:p"), scheme: "http" });
    const [recorded] = await homesOf(layer, config, deps);
    assert.equal(recorded?.description, `registry ${registry.host}/app`);
    assert.equal(await recorded?.open().blob(id).size(), 7);
    assert.ok(registry.requests.every(({ path }) => path.startsWith("/v2/app/") || path === "/v2/"));
  });
});

Deno.test("a layer without a diffID or a record, or with a damaged record, has its configured home", async () => {
  const config = configOf("localfs", { dir: "/blobs" });
  await withDocker(undefined, async (layer, deps) => {
    assert.deepEqual(await homesOf(layer, undefined, deps), []);
    const { id, bootstrapPath, home } = layer;
    assert.deepEqual(namesOf(await homesOf({ id, bootstrapPath, home }, config, deps)), [
      "localfs of the configuration",
    ]);
  });
  await withDocker("[{", async (layer, deps) => {
    assert.deepEqual(namesOf(await homesOf(layer, config, deps)), ["localfs of the configuration"]);
  });
});

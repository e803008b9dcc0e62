import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { FakeBucket } from "../../../../tests/support/backend/fake_bucket.ts";
import { FakeRegistry } from "../../../../tests/support/backend/fake_registry.ts";
import { quietLogs } from "../../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { turn } from "../../../../tests/support/until.ts";
import { delay } from "../../../base/abort.ts";
import { readJsonFile, writeJsonFile } from "../../../base/json_file.ts";
import { parseNydusdConfig } from "../../../backend/nydusd_config.ts";
import type { BackendDeps } from "../../../backend/open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../../backend/http/fetch_options.ts";
import { HttpClient } from "../../../backend/http/http_client.ts";
import { ANONYMOUS } from "../../../backend/registry/keychain.ts";
import { chooseBackend, type PulledFrom } from "./choose_backend.ts";
import { type BlobOrigin, formatBlobOrigin } from "../../build/blob_origin.ts";
import { dockerImageDir } from "../../docker/files.ts";
import { backendCandidates, whenPlaced } from "./backend_candidates.ts";
import { PulledImages } from "../records/pulled_images.ts";

/** Time in which Docker's record is looked for more than once. */
const SEVERAL_LOOKS_MS = 60;

const DIFF_ID = `sha256:${"ab".repeat(32)}`;

/** A Docker data-root with a record for {@link DIFF_ID}. */
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
    { id: "layer", bootstrapPath: dir.join("image/image.boot"), diffId: DIFF_ID, home: join(dir.path, "nydus-gd") },
    { http, keychain: ANONYMOUS, certsDir: dir.join("certs"), imagePullAuth: "" },
  );
}

/** Replaces or removes Docker's record of {@link DIFF_ID}. */
async function writeRecord({ home }: { home: string }, record: string | undefined): Promise<void> {
  const path = join(dockerImageDir(home), `distribution/v2metadata-by-diffid/sha256/${"ab".repeat(32)}`);
  if (record === undefined) await Deno.remove(path);
  else await Deno.writeTextFile(path, record);
}

/** Writes the file next to the layer's bootstrap: an origin, or arbitrary text. */
async function writeOrigin(layer: { bootstrapPath: string }, origin: BlobOrigin | string): Promise<void> {
  await Deno.mkdir(dirname(layer.bootstrapPath), { recursive: true });
  const text = typeof origin === "string" ? origin : formatBlobOrigin(origin);
  await Deno.writeTextFile(join(dirname(layer.bootstrapPath), "nydus-gd.json"), text);
}

const recordOf = (...repositories: string[]) =>
  JSON.stringify(
    repositories.map((name, k) => ({ Digest: `sha256:${`0${k}`.repeat(32)}`, SourceRepository: name, HMAC: "" })),
  );
const configOf = (type: string, config: Record<string, unknown>) =>
  parseNydusdConfig(JSON.stringify({ device: { backend: { type, config }, cache: {} }, mode: "direct" }));
const namesOf = (candidates: readonly { description: string }[]) => candidates.map(({ description }) => description);

Deno.test("a configured folder comes before Docker's records, newest first, without duplicates", () =>
  withDocker(recordOf("docker.io/library/old", "localhost:5000/app", "docker.io/library/old"), async (layer, deps) => {
    const config = configOf("localfs", { dir: "/blobs" });
    assert.deepEqual(namesOf(await backendCandidates(layer, { config, trustedOrigins: [], deps })), [
      "localfs of the configuration",
      "registry docker.io/library/old",
      "registry localhost:5000/app",
    ]);
    assert.deepEqual(namesOf(await backendCandidates(layer, { config: undefined, trustedOrigins: [], deps })), [
      "registry docker.io/library/old",
      "registry localhost:5000/app",
    ]);
  }));

for (const protocol of ["s3", "oss"] as const) {
  Deno.test(`a configured bucket of ${protocol} comes first if a HEAD finds every blob, else Docker's records`, async () => {
    await using registry = await FakeRegistry.start();
    await using bucket = await FakeBucket.start(protocol);
    const [one, two] = [Uint8Array.of(1), Uint8Array.of(2)];
    const blobIds = [one, two].map((bytes) => registry.addBlob(bytes));
    await withDocker(recordOf(`${registry.host}/app`), async (layer, deps) => {
      const config = configOf(protocol, bucket.section());
      const candidates = await backendCandidates(layer, { config, trustedOrigins: [], deps });
      assert.deepEqual(namesOf(candidates), [`${protocol} of the configuration`, `registry ${registry.host}/app`]);
      const chosen = async (name: string) => {
        const choicePath = join(layer.home, name);
        const search = { candidates: () => Promise.resolve(candidates), blobIds, choicePath, deadlineMs: 60_000 };
        return (await chooseBackend(search, new AbortController().signal)).description.split(" ")[0];
      };
      await Deno.mkdir(layer.home);
      bucket.objects.set(blobIds[0] ?? "", one);
      assert.equal(await chosen("half.json"), "registry");
      bucket.objects.set(blobIds[1] ?? "", two);
      bucket.requests.length = 0;
      assert.equal(await chosen("all.json"), protocol);
      assert.deepEqual(bucket.requests.map(({ method }) => method), ["HEAD", "HEAD"]);
    });
  });
}

Deno.test("a configured disk or bucket is a home whatever Docker recorded", () =>
  withDocker(undefined, async (layer, deps) => {
    const section = { device_path: "/dev/vdb" };
    const candidates = await backendCandidates(layer, {
      config: configOf("localdisk", section),
      trustedOrigins: [],
      deps,
    });
    assert.deepEqual(namesOf(candidates), ["localdisk of the configuration"]);
    assert.equal(candidates[0]?.open().description, "localdisk /dev/vdb");
  }));

Deno.test("a configured registry comes last, once", () =>
  withDocker(recordOf("localhost:5000/app"), async (layer, deps) => {
    const other = configOf("registry", { host: "localhost:5000", repo: "other" });
    const same = configOf("registry", { host: "localhost:5000", repo: "app" });
    assert.deepEqual(namesOf(await backendCandidates(layer, { config: other, trustedOrigins: [], deps })), [
      "registry localhost:5000/app",
      "registry localhost:5000/other",
    ]);
    assert.deepEqual(namesOf(await backendCandidates(layer, { config: same, trustedOrigins: [], deps })), [
      "registry localhost:5000/app",
    ]);
  }));

Deno.test("the repository that was chosen is used again after Docker has lost or replaced its record", async () => {
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(Uint8Array.of(1));
  await withDocker(recordOf(`${registry.host}/app`), async (layer, deps) => {
    const sources = { config: undefined, trustedOrigins: [], deps };
    const choicePath = join(dirname(layer.home), "choice.json");
    const candidates = (chosen: PulledFrom | undefined) => backendCandidates(layer, sources, chosen);
    const search = { candidates, blobIds: [id], choicePath, deadlineMs: 60_000 };
    const choose = () => chooseBackend(search, new AbortController().signal);
    const { description } = await choose();
    const { home } = await readJsonFile(choicePath) as { home: string };
    for (const record of [undefined, recordOf(`${registry.host}/without-its-blobs`)]) {
      for (const stored of [undefined, { home }]) { // the latter by an earlier version, while there was the record
        if (stored !== undefined) {
          await writeJsonFile(choicePath, stored);
          await writeRecord(layer, recordOf(`${registry.host}/app`));
          await choose();
        }
        await writeRecord(layer, record);
        registry.requests.length = 0;
        assert.equal((await choose()).description, description);
        assert.deepEqual(registry.requests, []);
      }
    }
  });
});

Deno.test("a new layer is placed when Docker has recorded its repository", () =>
  withDocker(undefined, async (layer, _deps) => {
    const { signal } = new AbortController();
    const pulled = await PulledImages.look(`${layer.home}/pulled`);
    let placed = false;
    const wait = whenPlaced(layer, pulled, signal).then(() => placed = true);
    await delay(SEVERAL_LOOKS_MS);
    assert.ok(!placed);
    const folder = join(dockerImageDir(layer.home), "distribution/v2metadata-by-diffid/sha256");
    await Deno.writeTextFile(join(folder, "ab".repeat(32)), recordOf("docker.io/library/app"));
    await wait;
    const aborted = whenPlaced({ ...layer, diffId: `sha256:${"cd".repeat(32)}` }, pulled, AbortSignal.abort());
    const late = turn();
    assert.equal(await Promise.race([aborted.then(() => "ended"), late]), "ended");
    await late;
  }));

Deno.test("a recorded repository on the configured host is read with the configured login", async () => {
  await using registry = await FakeRegistry.start({ auth: "basic", user: "u", password: "p" });
  const id = registry.addBlob(new Uint8Array(7));
  await withDocker(recordOf(`${registry.host}/app`), async (layer, deps) => {
    const config = configOf("registry", { host: registry.host, repo: "other", auth: btoa("u:p"), scheme: "http" });
    const [recorded] = await backendCandidates(layer, { config, trustedOrigins: [], deps });
    assert.equal(recorded?.description, `registry ${registry.host}/app`);
    assert.equal(await recorded?.open().blob(id).size(), 7);
    assert.ok(registry.requests.every(({ path }) => path.startsWith("/v2/app/") || path === "/v2/"));
  });
});

Deno.test("a layer without a diffID or a record, or with a damaged record, has its configured home", async () => {
  const config = configOf("localfs", { dir: "/blobs" });
  await withDocker(undefined, async (layer, deps) => {
    assert.deepEqual(await backendCandidates(layer, { config: undefined, trustedOrigins: [], deps }), []);
    const { id, bootstrapPath, home } = layer;
    assert.deepEqual(
      namesOf(await backendCandidates({ id, bootstrapPath, home }, { config, trustedOrigins: [], deps })),
      [
        "localfs of the configuration",
      ],
    );
  });
  await withDocker("[{", async (layer, deps) => {
    assert.deepEqual(namesOf(await backendCandidates(layer, { config, trustedOrigins: [], deps })), [
      "localfs of the configuration",
    ]);
  });
});

Deno.test("the home named by the layer comes after a configured folder and before Docker's records", () =>
  withDocker(recordOf("docker.io/library/app", "quay.io/team/app"), async (layer, deps) => {
    await writeOrigin(layer, { registry: "quay.io", repository: "other/app", blobSizes: new Map() });
    const folder = configOf("localfs", { dir: "/blobs" });
    assert.deepEqual(namesOf(await backendCandidates(layer, { config: folder, trustedOrigins: [], deps })), [
      "localfs of the configuration",
      "registry quay.io/other/app",
      "registry quay.io/team/app",
      "registry docker.io/library/app",
    ]);
    await writeOrigin(layer, { registry: "docker.io", repository: "library/app", blobSizes: new Map() });
    const registry = configOf("registry", { host: "docker.io", repo: "library/app" });
    assert.deepEqual(namesOf(await backendCandidates(layer, { config: registry, trustedOrigins: [], deps })), [
      "registry docker.io/library/app",
      "registry quay.io/team/app",
    ]);
  }));

Deno.test("a layer alone cannot name a home on this machine; settings, records and configuration can", async () => {
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(new Uint8Array(7));
  const origin = { registry: registry.host, repository: "app", blobSizes: new Map([[id, 7]]) };
  const sizeAt = async (
    layer: Parameters<typeof backendCandidates>[0],
    sources: Parameters<typeof backendCandidates>[1],
  ): Promise<number | undefined> => {
    const [candidate] = await backendCandidates(layer, sources);
    assert.equal(candidate?.description, `registry ${registry.host}/app`);
    assert.deepEqual(candidate?.blobSizes, origin.blobSizes);
    return await candidate?.open().blob(id).size();
  };
  await withDocker(undefined, async (layer, deps) => {
    await writeOrigin(layer, origin);
    const refusal = sizeAt(layer, { config: undefined, trustedOrigins: [], deps });
    await assert.rejects(refusal, /an image may not lead there: 127\.0\.0\.1:\d+ is a loopback or link-local address/);
    assert.equal(registry.requests.length, 0);
    assert.equal(await sizeAt(layer, { config: undefined, trustedOrigins: [registry.host], deps }), 7);
    const config = configOf("registry", { host: registry.host, repo: "other", scheme: "http" });
    assert.equal(await sizeAt(layer, { config, trustedOrigins: [], deps }), 7);
  });
  await withDocker(recordOf(`${registry.host}/copy`), async (layer, deps) => {
    await writeOrigin(layer, origin);
    assert.equal(await sizeAt(layer, { config: undefined, trustedOrigins: [], deps }), 7);
  });
});

Deno.test("credentials of the configured registry are not sent to the host that a layer names", async () => {
  await using named = await FakeRegistry.start({ auth: "basic", user: "u", password: "p" });
  const id = named.addBlob(new Uint8Array(7));
  await withDocker(undefined, async (layer, deps) => {
    await writeOrigin(layer, { registry: named.host, repository: "app", blobSizes: new Map([[id, 7]]) });
    const config = configOf("registry", { host: "registry.example.com", repo: "app", auth: btoa("u:p") });
    const [candidate] = await backendCandidates(layer, { config, trustedOrigins: [named.host], deps });
    await assert.rejects(async () => await candidate?.open().blob(id).size(), /it requires user and password/);
    assert.ok(named.requests.every(({ headers }) => headers.authorization === undefined));
  });
});

Deno.test("an unreadable origin file is a home with an error, and does not exclude other homes", () =>
  withDocker(recordOf("docker.io/library/app"), async (layer, deps) => {
    await writeOrigin(layer, '{"version":1}');
    const [broken, recorded] = await backendCandidates(layer, { config: undefined, trustedOrigins: [], deps });
    assert.equal(broken?.description, "image/nydus-gd.json of the layer");
    assert.throws(() => broken?.open(), /Cannot read nydus-gd\.json: registry is missing/);
    assert.equal(recorded?.description, "registry docker.io/library/app");
  }));

Deno.test("the reference that containerd passes on is a home after Docker's records, and an invalid one is none", () =>
  withDocker(recordOf("quay.io/team/app"), async (layer, deps) => {
    const config = configOf("registry", { host: "registry.example.com", repo: "app" });
    const sources = { config, trustedOrigins: [], deps };
    assert.deepEqual(namesOf(await backendCandidates({ ...layer, reference: "python:3" }, sources)), [
      "registry quay.io/team/app",
      "registry docker.io/library/python",
      "registry registry.example.com/app",
    ]);
    await using _quiet = await quietLogs();
    assert.deepEqual(namesOf(await backendCandidates({ ...layer, reference: "a b" }, sources)), [
      "registry quay.io/team/app",
      "registry registry.example.com/app",
    ]);
  }));

Deno.test("a reference alone cannot name a home on this machine, as images can bring it", async () => {
  await using registry = await FakeRegistry.start();
  const id = registry.addBlob(new Uint8Array(7));
  await withDocker(undefined, async ({ id: layerId, bootstrapPath, home }, deps) => {
    const layer = { id: layerId, bootstrapPath, home, reference: `${registry.host}/app:1` };
    const sizeAt = async (trustedOrigins: string[]) => {
      const [candidate] = await backendCandidates(layer, { config: undefined, trustedOrigins, deps });
      return await candidate?.open().blob(id).size();
    };
    await assert.rejects(sizeAt([]), /an image may not lead there/);
    assert.equal(registry.requests.length, 0);
    assert.equal(await sizeAt([registry.host]), 7);
  });
});

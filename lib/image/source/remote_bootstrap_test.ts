import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { dir, file, tarOf } from "../../../tests/support/archive/tar_builder.ts";
import { openRegistry } from "../../backend/open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { ANONYMOUS } from "../../backend/registry/keychain.ts";
import { hasCode } from "../../base/errors.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION, NYDUS_OS_FEATURE } from "../../oci/media_types.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import { ORDINARY_MEMORY } from "../../rafs/memory/image_memory.ts";
import { fetchBootstrap } from "./remote_bootstrap.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const digestOf = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const layerOf = (text: string) =>
  new Uint8Array(gzipSync(tarOf(dir("image"), file("image/image.boot", text), file("image/nydus-gd.json", "{}"))));
const ORDINARY = new Uint8Array(gzipSync(tarOf(file("etc/passwd", "root"))));
const PLATFORM = hostPlatform();
const OTHER = { os: PLATFORM.os, architecture: PLATFORM.architecture === "amd64" ? "arm64" : "amd64" };

/** A registry to fill, and a fetch of its tag "latest". */
class Images implements AsyncDisposable {
  readonly #http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });

  private constructor(readonly registry: FakeRegistry) {}

  static async start(): Promise<Images> {
    return new Images(await FakeRegistry.start());
  }

  /** Pushes a manifest under its digest and optionally a tag; returns its descriptor. */
  manifest(layers: readonly { bytes: Uint8Array; annotations?: Record<string, string> }[], tag?: string) {
    const config = encode({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] } });
    const bytes = encode({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config: { mediaType: MEDIA_TYPE.ociConfig, digest: digestOf(config), size: config.length },
      layers: layers.map(({ bytes, annotations }) => {
        this.registry.addBlob(bytes);
        return { mediaType: MEDIA_TYPE.ociLayerGzip, digest: digestOf(bytes), size: bytes.length, annotations };
      }),
    });
    return this.#add(MEDIA_TYPE.ociManifest, bytes, tag);
  }

  index(manifests: readonly unknown[], tag?: string) {
    return this.#add(MEDIA_TYPE.ociIndex, encode({ schemaVersion: 2, manifests }), tag);
  }

  #add(mediaType: string, bytes: Uint8Array, tag: string | undefined) {
    const digest = digestOf(bytes);
    this.registry.addManifest(digest, mediaType, bytes);
    if (tag !== undefined) this.registry.addManifest(tag, mediaType, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  async fetch(memory = ORDINARY_MEMORY): Promise<string> {
    const { host } = this.registry;
    const deps = { http: this.#http, keychain: ANONYMOUS };
    const { transport } = openRegistry({ host, repo: "app", scheme: "http" }, deps);
    const { bootstrap: bytes } = await fetchBootstrap(
      transport,
      parseReference(`${host}/app:latest`),
      undefined,
      memory,
    );
    return new TextDecoder().decode(bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http[Symbol.dispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

const nydus = (text: string) => [
  { bytes: new TextEncoder().encode(`data of ${text}`), annotations: { [NYDUS_ANNOTATION.blob]: "true" } },
  { bytes: layerOf(text), annotations: { [NYDUS_ANNOTATION.bootstrap]: "true", [NYDUS_ANNOTATION.fsVersion]: "6" } },
];

Deno.test("of a nydus image the bootstrap layer is fetched, and none of its data", async () => {
  await using images = await Images.start();
  images.manifest(nydus("app"), "latest");
  assert.equal(await images.fetch(), "app");
  assert.equal(images.registry.count("GET", "/v2/app/blobs/"), 1);
});

Deno.test("a layer is held in the memory that holds its bootstrap, and the pages of both are dropped on the way", async () => {
  await using images = await Images.start();
  const text = "bootstrap ".repeat(1 << 20);
  const bytes = tarOf(file("image/image.boot", text));
  images.manifest([{ bytes }], "latest");
  const allocated: number[] = [];
  let drops = 0;
  const allocate = (sizeBytes: number) => new Uint8Array(allocated[allocated.push(sizeBytes) - 1] ?? 0);
  assert.equal(await images.fetch({ allocate, dropPages: () => drops++ }), text);
  assert.deepEqual(allocated, [bytes.length, text.length]);
  assert.ok(drops >= 3, `${drops}`); // while it arrives, while it is read, and while the bootstrap is filled
});

Deno.test("an image that consists of one bootstrap layer needs no annotation", async () => {
  await using images = await Images.start();
  images.manifest([{ bytes: layerOf("alone") }], "latest");
  assert.equal(await images.fetch(), "alone");
});

Deno.test("of an index the entry for this platform with a nydus mark is used, else the first one", async () => {
  await using images = await Images.start();
  const ordinary = images.manifest([{ bytes: ORDINARY }]);
  const lazy = images.manifest(nydus("lazy"));
  const foreign = images.manifest(nydus("foreign"));
  const alone = images.manifest([{ bytes: layerOf("alone") }]);
  const marks = [
    { artifactType: MEDIA_TYPE.nydusManifest, platform: PLATFORM },
    { platform: { ...PLATFORM, "os.features": [NYDUS_OS_FEATURE] } },
  ];
  for (const mark of marks) {
    images.index([
      { ...foreign, ...mark, platform: OTHER },
      { ...ordinary, platform: PLATFORM },
      { ...lazy, ...mark },
    ], "latest");
    assert.equal(await images.fetch(), "lazy");
  }
  images.index(
    [{ ...foreign, platform: OTHER }, { ...alone, platform: PLATFORM }, { ...lazy, platform: PLATFORM }],
    "latest",
  );
  assert.equal(await images.fetch(), "alone");
});

Deno.test("an ordinary image is refused by name", async () => {
  await using images = await Images.start();
  const refused = (error: unknown) =>
    hasCode(error, "unsupported") &&
    /^Cannot read image .*app:latest: it is not a nydus image$/.test(error.message);
  images.manifest([{ bytes: ORDINARY }], "latest");
  await assert.rejects(images.fetch(), refused);
  images.manifest([{ bytes: ORDINARY }, { bytes: layerOf("not marked") }], "latest");
  await assert.rejects(images.fetch(), refused);
  images.manifest([], "latest");
  await assert.rejects(images.fetch(), refused);
});

Deno.test("an index without this platform, or of nested indexes, is refused by name", async () => {
  await using images = await Images.start();
  const lazy = images.manifest(nydus("lazy"));
  images.index([{ ...lazy, platform: OTHER }], "latest");
  await assert.rejects(
    images.fetch(),
    /^NydusGdError: Cannot read image .*: nothing for linux\/\w+(\/v8)?, there is linux\/\w+(\/v8)?$/,
  );
  images.index([{ ...images.index([lazy]), platform: PLATFORM }], "latest");
  await assert.rejects(images.fetch(), /^NydusGdError: Cannot read image .*: an index lists an index$/);
});

Deno.test("manifests and layers that do not match their digest are corrupt", async () => {
  await using images = await Images.start();
  const corrupt = (error: unknown) => hasCode(error, "corrupt");
  const lazy = images.manifest(nydus("lazy"), "latest");
  const wrong = layerOf("lazy").slice();
  wrong[20] = (wrong[20] ?? 0) ^ 1;
  images.registry.faults.push({ kind: "status", status: 200, body: "x".repeat(wrong.length) });
  await assert.rejects(images.fetch(), corrupt);
  assert.equal(await images.fetch(), "lazy");
  images.index([{ ...lazy, platform: PLATFORM }], "latest");
  images.registry.addManifest(lazy.digest, MEDIA_TYPE.ociManifest, encode({ schemaVersion: 2, layers: [] }));
  await assert.rejects(images.fetch(), corrupt);
});

Deno.test("a layer with damaged gzip data is reported with its digest", async () => {
  await using images = await Images.start();
  const cut = layerOf("cut").slice(0, -6);
  images.manifest([{ bytes: cut }], "latest");
  await assert.rejects(
    images.fetch(),
    (error) =>
      hasCode(error, "invalid-image") &&
      error.message.startsWith(`Cannot read layer ${digestOf(cut)}: its gzip is damaged`),
  );
});

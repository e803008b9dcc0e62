import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fixtureOf, readFixtureBootstrap } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { dir, file, tarOf } from "../../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { ANONYMOUS } from "../../backend/registry/keychain.ts";
import { hasCode } from "../../base/errors.ts";
import { digestHex, parseDigest } from "../../oci/digest.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "../../oci/media_types.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { locateImage, requireBackend } from "./locate_image.ts";
import { OciLayout } from "./oci_layout.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const HOST = hostPlatform();
const OTHER = { os: HOST.os, architecture: HOST.architecture === "amd64" ? "arm64" : "amd64" };

/** A layout under construction. */
class Layout implements Disposable {
  readonly #temp = TempDir.make();
  readonly path = this.#temp.join("image:1"); // a colon that does not start a tag

  constructor() {
    Deno.mkdirSync(`${this.path}/blobs/sha256`, { recursive: true });
  }

  blob(bytes: Uint8Array, mediaType: string, more: object = {}) {
    const hex = createHash("sha256").update(bytes).digest("hex");
    Deno.writeFileSync(`${this.path}/blobs/sha256/${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length, ...more };
  }

  manifest(layers: readonly object[], more: object = {}) {
    const config = this.blob(encode({ architecture: HOST.architecture, os: HOST.os }), MEDIA_TYPE.ociConfig);
    return this.blob(
      encode({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers }),
      MEDIA_TYPE.ociManifest,
      more,
    );
  }

  index(manifests: readonly object[], more: object = {}) {
    return this.blob(encode({ schemaVersion: 2, manifests }), MEDIA_TYPE.ociIndex, more);
  }

  write(manifests: readonly object[]): void {
    Deno.writeFileSync(`${this.path}/index.json`, encode({ schemaVersion: 2, manifests }));
  }

  file(name: string): string {
    return this.#temp.join(name);
  }

  [Symbol.dispose](): void {
    this.#temp[Symbol.dispose]();
  }
}

const named = (name: string) => ({ annotations: { "org.opencontainers.image.ref.name": name } });
const BOOTSTRAP = { annotations: { [NYDUS_ANNOTATION.bootstrap]: "true" } };
const bootstrapTar = async (name: string) =>
  new Uint8Array(gzipSync(tarOf(dir("image"), file("image/image.boot", await readFixtureBootstrap(fixtureOf(name))))));

Deno.test("an image is found by its tag, its name or alone, also in nested indexes, for this platform", async () => {
  using layout = new Layout();
  const ordinary = layout.blob(new Uint8Array(gzipSync(tarOf(file("a")))), MEDIA_TYPE.ociLayerGzip);
  const nydus = layout.blob(await bootstrapTar("v6-layers-merged"), MEDIA_TYPE.ociLayerGzip, BOOTSTRAP);
  const images = layout.index([
    layout.manifest([nydus], { platform: OTHER }),
    layout.manifest([ordinary], { platform: HOST }),
    layout.manifest([ordinary, nydus], { platform: HOST }),
  ], named("example.org/app:1"));
  layout.write([images, layout.manifest([ordinary], named("plain"))]);
  for (const suffix of ["", ":1"]) {
    const found = await OciLayout.open(`oci:${layout.path}${suffix}`);
    assert.equal((await found.manifest("nydus")).layers.length, 2, suffix);
    assert.deepEqual((await found.manifest("ordinary")).layers.map(({ digest }) => digest), [ordinary.digest]);
  }
  const plain = await OciLayout.open(`oci:${layout.path}:plain`);
  assert.equal((await plain.manifest("ordinary")).layers.length, 1);
  const absent = await OciLayout.open(`oci:${layout.path}:2`);
  for (const kind of ["ordinary", "nydus"] as const) {
    await assert.rejects(
      absent.manifest(kind),
      (error) =>
        hasCode(error, "not-found") && error.message.endsWith(":2: index.json lists no such image") &&
        /^it lists .*plain/.test(error.hint ?? ""),
    );
  }
});

Deno.test("content with a wrong digest, missing content and deep nesting are refused by name", async () => {
  using layout = new Layout();
  const layer = layout.blob(new Uint8Array(5), MEDIA_TYPE.ociLayer);
  const manifest = layout.manifest([layer]);
  layout.write([manifest]);
  const open = () => OciLayout.open(`oci:${layout.path}`);
  const fails = async (code: Parameters<typeof hasCode>[1], message: RegExp) =>
    await assert.rejects(
      (await open()).manifest("ordinary"),
      (error) => hasCode(error, code) && message.test(error.message),
    );
  const path = join(layout.path, "blobs/sha256", digestHex(parseDigest(manifest.digest)));
  const good = await Deno.readFile(path);
  await Deno.writeFile(path, good.with(20, 0x20));
  await fails("corrupt", /its digest is sha256:/);
  await Deno.writeFile(path, new Uint8Array([...good, 0x20]));
  await fails("invalid-image", /has \d+ bytes, expected \d+ at most$/);
  await Deno.remove(path);
  await fails("not-found", /there is no file /);
  let deep = layout.index([]);
  for (let i = 0; i < 6; i++) deep = layout.index([deep]);
  layout.write([deep]);
  await fails("invalid-image", /indexes are nested too deeply$/);
  await Deno.writeTextFile(`${layout.path}/index.json`, "{");
  await fails("invalid-image", /^Cannot read index\.json of .*image:1: it is not valid JSON$/);
  const text = layout.blob(encode("text"), MEDIA_TYPE.ociManifest);
  layout.write([text]);
  await fails("invalid-image", new RegExp(`^Cannot read manifest ${text.digest} of .*image:1: it is not an object$`));
  await assert.rejects(OciLayout.open("oci:/no/such:1"), (error) => hasCode(error, "not-found"));
  await Deno.remove(`${layout.path}/index.json`);
  await assert.rejects((await OciLayout.open(`oci:${layout.path}:1`)).manifest("nydus"), {
    code: "not-found",
    message: `Cannot read image oci:${layout.path}: there is no file ${layout.path}/index.json`,
    hint: "oci:DIR or oci:DIR:TAG, where DIR has index.json",
  });
});

Deno.test("bootstrap and blobs are located for a layout, a file, and a layer that names its home", async () => {
  using layout = new Layout();
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const deps = { http, keychain: ANONYMOUS };
  const { signal } = new AbortController();
  const folder = layout.file("scratch");
  await Deno.mkdir(folder);
  const locate = (what: string, blobDir?: string) => locateImage({ what, blobDir }, { deps, folder }, signal);
  // a bootstrap-only image without its annotation
  layout.write([layout.manifest([layout.blob(await bootstrapTar("v5-layers-merged"), MEDIA_TYPE.ociLayerGzip)])]);
  const found = await locate(`oci:${layout.path}`);
  assert.deepEqual(await Deno.readFile(found.source), await readFixtureBootstrap(fixtureOf("v5-layers-merged")));
  assert.match(requireBackend(found, "mount").description, /^localfs .*blobs\/sha256$/);
  assert.equal(found.manifest?.layers.length, 1);

  const bootstrap = fixtureOf("v5-layers-merged").bootstrap;
  const alone = await locate(bootstrap);
  assert.deepEqual([alone.source, alone.manifest], [bootstrap, undefined]);
  assert.throws(
    () => requireBackend(alone, "mount"),
    (error) => hasCode(error, "usage") && /^Cannot mount /.test(error.message),
  );
  assert.equal(requireBackend(await locate(bootstrap, folder), "mount").description, `localfs ${folder}`);

  layout.write([layout.manifest([layout.blob(new Uint8Array(gzipSync(tarOf(file("a")))), MEDIA_TYPE.ociLayerGzip)])]);
  await assert.rejects(locate(`oci:${layout.path}`), (error) => hasCode(error, "unsupported"));
});

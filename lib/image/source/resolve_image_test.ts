import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { ImagePusher, type LazyImage, OTHER_PLATFORM, PLATFORM } from "../../../tests/support/image/nydus_images.ts";
import { dir, file, tarOf } from "../../../tests/support/archive/tar_builder.ts";
import { openRegistry } from "../../backend/open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { ANONYMOUS } from "../../backend/registry/keychain.ts";
import { hasCode } from "../../base/errors.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import type { Platform } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import { beginsWithBootstrap } from "./image_form.ts";
import { type ResolvedImage, resolveImage } from "./resolve_image.ts";

const LAZY: LazyImage = {
  bootstrap: crypto.getRandomValues(new Uint8Array(40_000)),
  blobs: [new Uint8Array(100)],
};
const CLASSIC = [tarOf(file("etc/passwd", "root"))];

async function withRegistry(
  test: (
    pusher: ImagePusher,
    resolve: (tag?: string, platform?: Platform) => Promise<ResolvedImage>,
    registry: FakeRegistry,
  ) => Promise<void>,
): Promise<void> {
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  const { transport: repository } = openRegistry({ host: registry.host, repo: "app" }, { http, keychain: ANONYMOUS });
  const resolve = (tag = "latest", platform = PLATFORM) =>
    resolveImage({
      ...{ repository, platform },
      reference: parseReference(`${registry.host}/app:${tag}`),
      signal: undefined,
    });
  await test(ImagePusher.into(registry), resolve, registry);
}

Deno.test("a manifest is classified by its layers, or by the start of the lowest where none is marked", () =>
  withRegistry(async (pusher, resolve) => {
    await pusher.standard(LAZY, { tag: "standard" });
    const { form } = await resolve("standard");
    assert.ok(form.kind === "standard");
    assert.deepEqual(form.blobs.map(({ mediaType }) => mediaType), [MEDIA_TYPE.nydusBlob]);
    await pusher.bootstrapOnly(LAZY, [], { tag: "alone" });
    await pusher.bootstrapOnly(LAZY, CLASSIC, { tag: "above" });
    for (const tag of ["alone", "above"]) assert.equal((await resolve(tag)).form.kind, "bootstrap-only");
    await pusher.classic(CLASSIC, { tag: "classic" });
    await pusher.classic([], { tag: "empty" });
    for (const tag of ["classic", "empty"]) assert.equal((await resolve(tag)).form.kind, "classic");
  }));

Deno.test("of an index Docker's choice is used if it is lazy, else another lazy entry", () =>
  withRegistry(async (pusher, resolve) => {
    const entry = async (pushed: Promise<object>) => ({ ...await pushed, platform: PLATFORM });
    const classic = await entry(pusher.classic(CLASSIC));
    const only = await entry(pusher.bootstrapOnly(LAZY, CLASSIC));
    const standard = await entry(pusher.standard(LAZY));
    const foreign = { ...await pusher.standard(LAZY, { platform: OTHER_PLATFORM }), platform: OTHER_PLATFORM };
    const unknown = { ...await pusher.classic([]), platform: { os: "unknown", architecture: "unknown" } };
    const cases: [entries: unknown[], kind: string, isDockersChoice: boolean][] = [
      [[only, standard], "bootstrap-only", true],
      [[foreign, only, classic], "bootstrap-only", true],
      [[classic, standard], "standard", false],
      [[classic, { ...standard, artifactType: MEDIA_TYPE.nydusManifest }], "standard", false],
      [[standard, only], "standard", true],
      [[classic, only], "bootstrap-only", false],
      [[foreign, classic, unknown], "classic", true],
    ];
    for (const [entries, kind, isDockersChoice] of cases) {
      await pusher.index("latest", entries);
      const found = await resolve();
      assert.deepEqual([found.form.kind, found.isDockersChoice, found.namedBy], [kind, isDockersChoice, "index"]);
    }
    await pusher.index("latest", [foreign, unknown]);
    const { architecture } = OTHER_PLATFORM;
    await assert.rejects(
      resolve(),
      (error) =>
        hasCode(error, "not-found") && error.hint === `--platform linux/${architecture}` &&
        error.message.endsWith(
          `nothing for linux/${PLATFORM.architecture}${PLATFORM.variant ? `/${PLATFORM.variant}` : ""}` +
            `, there is linux/${architecture}`,
        ),
    );
    assert.equal((await resolve("latest", OTHER_PLATFORM)).form.kind, "standard");
  }));

Deno.test("a nydus image that refers to an ordinary one is found by referrers API or fallback tag", () =>
  withRegistry(async (pusher, resolve, registry) => {
    const subject = await pusher.classic(CLASSIC, { tag: "latest" });
    const signature = await pusher.classic([], { subject });
    const nydus = await pusher.standard(LAZY, { subject });
    assert.equal((await resolve()).form.kind, "classic");
    const entries = [
      { ...signature, artifactType: "application/vnd.dev.cosign.artifact.sig.v1+json" },
      signature,
      nydus,
    ];
    await pusher.index(subject.digest.replace(":", "-"), entries);
    for (const lacking of [404, 400, 405, 406, 401, 403, 200]) { // by the status of an API that is not there
      registry.referrersStatus = lacking;
      const found = await resolve();
      assert.deepEqual([found.digest, found.namedBy, found.isDockersChoice], [nydus.digest, "referrer", false]);
    }
    registry.addReferrers(
      subject.digest,
      new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, manifests: [] })),
    );
    assert.equal((await resolve()).form.kind, "classic");
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [nydus] };
    registry.addReferrers(subject.digest, new TextEncoder().encode(JSON.stringify(index)));
    assert.equal((await resolve()).digest, nydus.digest);
    registry.addReferrers(subject.digest, new TextEncoder().encode("{}"));
    await assert.rejects(resolve(), (error) => hasCode(error, "invalid-image"));
  }));

Deno.test("an image is found although its registry refuses to list what refers to it", () =>
  withRegistry(async (pusher, resolve, registry) => {
    await pusher.classic(CLASSIC, { tag: "latest" });
    registry.unnamedStatus = 403;
    for (const status of [401, 403]) {
      registry.referrersStatus = status;
      const { form, isDockersChoice } = await resolve();
      assert.deepEqual([form.kind, isDockersChoice], ["classic", true]);
    }
  }));

Deno.test("the start of a layer identifies a bootstrap by name, if only image/* precedes it", () => {
  const large = crypto.getRandomValues(new Uint8Array(50_000));
  const cases: [tar: Uint8Array, is: boolean][] = [
    [tarOf(dir("image"), file("image/image.boot", large)), true],
    [tarOf(file("image.boot", large)), true],
    [tarOf(dir("./"), dir("./image"), file("./image/backend.json", "{}"), file("./image/image.boot", "x")), true],
    [tarOf(dir("image"), dir("bin"), file("image/image.boot", large)), false],
    [tarOf(dir("image"), file("image/cat.png", large)), false],
    [tarOf(file("images/image.boot", large)), false],
    [tarOf(), false],
    [large, false],
  ];
  for (const [tar, is] of cases) {
    assert.equal(beginsWithBootstrap(tar.subarray(0, 16_384)), is);
    assert.equal(beginsWithBootstrap(new Uint8Array(gzipSync(tar)).subarray(0, 16_384)), is);
  }
  assert.equal(beginsWithBootstrap(new Uint8Array(0)), false);
  assert.equal(beginsWithBootstrap(Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff)), false);
});

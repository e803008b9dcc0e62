import assert from "node:assert/strict";
import fc from "fast-check";
import { NydusGdError } from "../base/errors.ts";
import { bootstrapLayer, parseImageConfig, parseManifestDocument } from "./manifest.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "./media_types.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const config = { mediaType: MEDIA_TYPE.ociConfig, digest: DIGEST, size: 7 };
const layer = { mediaType: MEDIA_TYPE.ociLayerGzip, digest: DIGEST, size: 2 ** 40 };
const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers: [layer] };
const index = {
  schemaVersion: 2,
  manifests: [{
    mediaType: MEDIA_TYPE.ociManifest,
    digest: DIGEST,
    size: 1,
    platform: { os: "linux", architecture: "amd64" },
  }],
};

function bytes(document: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(document));
}

function fails(document: unknown, mediaType: string, words: RegExp): void {
  const input = document instanceof Uint8Array ? document : bytes(document);
  assert.throws(() => parseManifestDocument(input, mediaType), words);
}

Deno.test("manifests and indexes of OCI and Docker are parsed", () => {
  const read = parseManifestDocument(bytes(manifest), `${MEDIA_TYPE.ociManifest}; charset=utf-8`);
  assert.ok(read.kind === "manifest");
  assert.equal(read.manifest.layers[0]?.size, 2 ** 40);
  assert.equal(parseManifestDocument(bytes({ ...manifest, mediaType: MEDIA_TYPE.dockerManifest })).kind, "manifest");
  const list = parseManifestDocument(bytes(index), MEDIA_TYPE.dockerManifestList);
  assert.ok(list.kind === "index");
  assert.equal(list.index.manifests[0]?.platform?.architecture, "amd64");
});

Deno.test("null keys and lists, as Go writes them, are accepted", () => {
  const read = parseManifestDocument(bytes({ ...manifest, annotations: null, layers: [{ ...layer, urls: null }] }));
  assert.equal(read.kind, "manifest");
  const bare = parseManifestDocument(bytes({ ...manifest, layers: null }));
  assert.ok(bare.kind === "manifest");
  assert.deepEqual(bare.manifest.layers, []);
  const empty = parseManifestDocument(bytes({ schemaVersion: 2, manifests: null }), MEDIA_TYPE.ociIndex);
  assert.ok(empty.kind === "index");
  assert.deepEqual(empty.index.manifests, []);
  assert.deepEqual(parseImageConfig(bytes({ rootfs: { type: "layers", diff_ids: null } })).rootfs.diff_ids, []);
});

Deno.test("the bootstrap is the last layer if it is annotated", () => {
  const marked = { ...layer, annotations: { [NYDUS_ANNOTATION.bootstrap]: "true" } };
  const of = (layers: unknown[]) => {
    const read = parseManifestDocument(bytes({ ...manifest, layers }));
    assert.ok(read.kind === "manifest");
    return bootstrapLayer(read.manifest);
  };
  assert.equal(of([layer, marked])?.size, 2 ** 40);
  assert.equal(of([marked, layer]), undefined);
  assert.equal(of([]), undefined);
});

Deno.test("damage is reported with its path", () => {
  const type = MEDIA_TYPE.ociManifest;
  fails(new TextEncoder().encode("{"), type, /Cannot read manifest: it is not valid JSON/);
  fails(new Uint8Array([0xff, 0xfe]), type, /it is not valid JSON/);
  fails([], type, /it is not an object/);
  fails({ ...manifest, config: undefined }, type, /config is missing$/);
  fails({ ...manifest, schemaVersion: 1 }, type, /schemaVersion must be 2, not 1$/);
  fails(
    { ...manifest, layers: [layer, { ...layer, digest: "md5:00" }] },
    type,
    /layers\[1\]\.digest is not a sha256 or sha512 digest$/,
  );
  fails({ ...manifest, layers: [{ ...layer, size: -1 }] }, type, /layers\[0\]\.size is negative$/);
  fails({ ...manifest, layers: [{ ...layer, size: 1.5 }] }, type, /layers\[0\]\.size is not an integer/);
  fails({ ...manifest, layers: Array(5000).fill(layer) }, type, /layers has more than 4096 entries$/);
  fails({ ...manifest, annotations: { a: 1 } }, type, /annotations\.a must be a string, not a number$/);
});

Deno.test("an ambiguous document is refused", () => {
  fails({ ...manifest, manifests: [] }, MEDIA_TYPE.ociManifest, /manifests is not allowed/);
  fails({ ...index, layers: [] }, MEDIA_TYPE.ociIndex, /layers is not allowed/);
  fails(manifest, MEDIA_TYPE.ociIndex, /it is served as .*index.*, its mediaType is .*manifest/);
  fails(
    { schemaVersion: 1, fsLayers: [] },
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    /is not supported/,
  );
});

Deno.test("an image configuration yields its diffIDs", () => {
  const read = parseImageConfig(
    bytes({ os: "linux", architecture: "arm64", rootfs: { type: "layers", diff_ids: [DIGEST] } }),
  );
  assert.deepEqual(read.rootfs.diff_ids, [DIGEST]);
  assert.throws(() => parseImageConfig(bytes({ rootfs: { type: "layers" } })), /rootfs\.diff_ids is missing/);
});

Deno.test("arbitrary documents yield a manifest or a NydusGdError", () => {
  const mutated = fc.tuple(fc.constantFrom("config", "layers", "annotations", "subject", "mediaType"), fc.jsonValue())
    .map(([key, value]) => ({ ...manifest, [key]: value }));
  fc.assert(
    fc.property(
      fc.oneof(fc.jsonValue(), mutated),
      fc.constantFrom("", ...Object.values(MEDIA_TYPE)),
      (document, type) => {
        try {
          parseManifestDocument(bytes(document), type);
        } catch (error) {
          assert.ok(error instanceof NydusGdError, String(error));
        }
      },
    ),
  );
});

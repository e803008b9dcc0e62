/**
 * Fuzzes names and documents of images: references, digests, platforms, manifests, indexes, configurations.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { digestAlgorithm, digestHex, isDigest, parseDigest } from "../../lib/oci/digest.ts";
import { parseImageConfig, parseManifestDocument } from "../../lib/oci/manifest.ts";
import { MEDIA_TYPE } from "../../lib/oci/media_types.ts";
import { formatPlatform, parsePlatform } from "../../lib/oci/platform.ts";
import { familiarReference, formatReference, manifestName, parseReference } from "../../lib/oci/reference.ts";
import { maybe, sequence, withGrammar } from "../support/fuzz/grammar.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";

const SHA256 = `sha256:${"5".repeat(64)}`;
const SHA512 = `sha512:${"a0".repeat(64)}`;

const word = fc.constantFrom("a", "nginx", "library", "a_b", "a__b", "a-b", "A", "xn--a", "..", "", "a.b", "0");
const reference = sequence(
  maybe(
    sequence(fc.constantFrom("localhost", "r.io", "[::1]", "Host", "1.2.3.4", "-a", "a..b"), maybe(port()))
      .map((host) => `${host}/`),
  ),
  fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join("/")),
  maybe(fc.string({ maxLength: 130 }).map((tag) => `:${tag}`)),
  maybe(fc.constantFrom(`@${SHA256}`, `@${SHA512}`, "@", "@sha256:", `@${SHA256}0`)),
);

function port(): fc.Arbitrary<string> {
  return fc.oneof(fc.nat({ max: 70000 }).map((number) => `:${number}`), fc.constantFrom(":", ":x"));
}

fuzz(import.meta, {
  name: "references",
  inputs: () =>
    withGrammar(
      reference,
      new TextMutator(["nginx", "localhost:5000/a/b:1", `r.io/a_b/c-d@${SHA256}`, "[::1]:5000/x:v1.0-rc_1"], {
        words: [":", "@", "/", SHA256, "localhost", ".", "__"],
      }),
    ),
  open: () => (text) => {
    const parsed = parseReference(text);
    assert.match(parsed.repository, /^[a-z0-9._/-]{1,255}$/);
    assert.ok(!parsed.repository.split("/").some((part) => part === "" || part === ".." || part === "."));
    assert.match(manifestName(parsed), /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,136}$/);
    assert.equal(new URL(`https://${parsed.host}/v2/${parsed.repository}/x`).pathname, `/v2/${parsed.repository}/x`);
    assert.deepEqual(parseReference(formatReference(parsed)), parsed);
    assert.deepEqual(parseReference(familiarReference(parsed)), parsed);
  },
});

fuzz(import.meta, {
  name: "digests",
  inputs: () => new TextMutator([SHA256, SHA512], { words: ["sha256:", "sha512:", "md5:", "A", ":"] }),
  open: () => (text) => {
    assert.equal(isDigest(text), /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text) && !text.endsWith("\n"));
    const digest = parseDigest(text);
    assert.equal(`${digestAlgorithm(digest)}:${digestHex(digest)}`, text);
  },
});

fuzz(import.meta, {
  name: "platforms",
  inputs: () => new TextMutator(["linux/amd64", "linux/arm/v7", "aarch64", "windows/386"], { words: ["/", "arm64"] }),
  open: () => (text) => {
    const platform = parsePlatform(text);
    assert.deepEqual(parsePlatform(formatPlatform(platform)), platform);
  },
});

const descriptor = (mediaType: string, size: number) => ({ mediaType, digest: SHA256, size });
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.ociManifest,
  config: descriptor(MEDIA_TYPE.ociConfig, 7023),
  layers: [
    { ...descriptor(MEDIA_TYPE.ociLayerGzip, 32654), annotations: { a: "b" } },
    { ...descriptor(MEDIA_TYPE.nydusBlob, 16724), digest: SHA512, urls: ["https://x"] },
  ],
  subject: descriptor(MEDIA_TYPE.ociManifest, 7682),
  annotations: null,
});
const INDEX = JSON.stringify({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.ociIndex,
  manifests: [{
    ...descriptor(MEDIA_TYPE.ociManifest, 7143),
    platform: { os: "linux", architecture: "arm", variant: "v7", "os.features": ["nydus.remoteimage.v1"] },
    artifactType: MEDIA_TYPE.nydusManifest,
  }],
});
const CONFIG = JSON.stringify({
  architecture: "amd64",
  os: "linux",
  rootfs: { type: "layers", diff_ids: [SHA256, SHA512] },
  history: [{ created_by: "x" }],
});
const WORDS = [...Object.values(MEDIA_TYPE), SHA256, "layers", "manifests", "mediaType", "size", "digest"];
const encoder = new TextEncoder();

fuzz(import.meta, {
  name: "manifests and indexes",
  inputs: () => new TextMutator([MANIFEST, INDEX], { json: true, words: WORDS }),
  open: () => (text) => {
    const document = parseManifestDocument(encoder.encode(text));
    const { manifests = [], layers = [], config } = document.kind === "index"
      ? { manifests: document.index.manifests }
      : { layers: document.manifest.layers, config: document.manifest.config };
    for (const { size, digest } of [...manifests, ...layers, ...config === undefined ? [] : [config]]) {
      assert.ok(Number.isSafeInteger(size) && size >= 0 && isDigest(digest));
    }
  },
});

fuzz(import.meta, {
  name: "image configurations",
  inputs: () => new TextMutator([CONFIG], { json: true, words: WORDS }),
  open: () => (text) => {
    const { rootfs } = parseImageConfig(encoder.encode(text));
    assert.ok(rootfs.diff_ids.every(isDigest));
  },
});

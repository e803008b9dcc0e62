import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { entriesOf } from "../../../tests/support/archive/tar_builder.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import { concatenate, toByteString } from "../../base/bytes.ts";
import { hasCode } from "../../base/errors.ts";
import { ORDINARY_MEMORY } from "../../rafs/memory/image_memory.ts";
import { parseBlobOrigin } from "../build/blob_origin.ts";
import { bootstrapOnlyImage } from "./bootstrap_only.ts";

const BLOB = "ab".repeat(32);
const LAYER = { bootstrap: new Uint8Array(5000).fill(7), metas: new Map([[BLOB, new Uint8Array(4096)]]) };
const ORIGIN = { registry: "r.example", repository: "app", blobSizes: new Map([[BLOB, 123]]) };
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const CONFIG = {
  architecture: "arm64",
  os: "linux",
  variant: "v8",
  created: "2024-01-01T00:00:00Z",
  config: { Cmd: ["/app"], Env: ["A=1"] },
  rootfs: { type: "layers", diff_ids: ["sha256:1", "sha256:2"] },
  history: [{ created_by: "layer 0" }, { created_by: "ENV A=1", empty_layer: true }],
};
const PARTS = {
  layer: LAYER,
  origin: ORIGIN,
  config: encode(CONFIG),
  name: "r.example/app:1",
  memory: ORDINARY_MEMORY,
};

/** Files of an archive by name. */
function filesOf(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let content: Uint8Array | undefined;
  const reader = new TarReader({
    entry: ({ name, sizeBytes }) => void files.set(toByteString(name), content = new Uint8Array(sizeBytes)),
    data: (piece, offset) => content?.set(piece, offset),
    endEntry: () => {},
  });
  reader.push(archive);
  reader.finish();
  return files;
}

Deno.test("Docker gets the image's configuration, with one layer of bootstrap, chunk tables and origin", () => {
  const image = bootstrapOnlyImage(PARTS);
  const files = filesOf(concatenate(image.archive));
  const [manifest] = JSON.parse(new TextDecoder().decode(files.get("manifest.json")));
  assert.deepEqual(manifest.RepoTags, ["r.example/app:1"]);
  const config = files.get(manifest.Config) ?? new Uint8Array(0), layer = files.get(manifest.Layers[0]);
  assert.equal(`sha256:${createHash("sha256").update(config).digest("hex")}`, image.id);
  assert.equal(`sha256:${createHash("sha256").update(layer ?? "").digest("hex")}`, image.diffId);
  assert.deepEqual(JSON.parse(new TextDecoder().decode(config)), {
    ...CONFIG,
    rootfs: { type: "layers", diff_ids: [image.diffId] },
    history: [
      { created_by: "layer 0", empty_layer: true },
      { created_by: "ENV A=1", empty_layer: true },
      { created: "2024-01-01T00:00:00Z", created_by: "nydus-gd pull" },
    ],
  });
  const inLayer = filesOf(layer ?? new Uint8Array(0));
  assert.deepEqual([...inLayer.keys()], [
    "image/",
    "image/image.boot",
    `image/${BLOB}.blob.meta`,
    "image/nydus-gd.json",
  ]);
  assert.deepEqual(inLayer.get("image/image.boot"), LAYER.bootstrap);
  assert.deepEqual(parseBlobOrigin(new TextDecoder().decode(inLayer.get("image/nydus-gd.json"))), ORIGIN);
  assert.ok(entriesOf(layer ?? new Uint8Array(0)).every(({ uid, mtimeSec }) => uid === 0 && mtimeSec === 0));
});

Deno.test("the same image yields the same ids at every pull, another repository another layer", () => {
  const one = bootstrapOnlyImage(PARTS);
  const again = bootstrapOnlyImage({ ...PARTS, name: "r.example/app:2" });
  assert.deepEqual([one.id, one.diffId], [again.id, again.diffId]);
  assert.notEqual(bootstrapOnlyImage({ ...PARTS, origin: { ...ORIGIN, repository: "b" } }).diffId, one.diffId);
});

Deno.test("a configuration that is not an object is refused", () => {
  for (const config of [encode([]), encode(null), encode("x"), new TextEncoder().encode("{")]) {
    assert.throws(() => bootstrapOnlyImage({ ...PARTS, config }), (error) => hasCode(error, "invalid-image"));
  }
});

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { recordedLayer, recordedLayers, recordedParents } from "./layers.ts";

/** Writes files of a record of Docker's layerdb. */
function record(dir: TempDir, folder: string, files: Record<string, string | undefined>): void {
  Deno.mkdirSync(dir.join(`layerdb/${folder}`), { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    if (text !== undefined) Deno.writeTextFileSync(dir.join(`layerdb/${folder}/${name}`), text);
  }
}

function diffOf(id: string): string {
  return `sha256:${createHash("sha256").update(id).digest("hex")}`;
}

/** Records a layer of an image and returns its chain id. */
function recordLayer(dir: TempDir, id: string, parent?: string): string {
  const diff = diffOf(id);
  const chain = parent === undefined ? diff.slice(7) : createHash("sha256").update(`${parent} ${diff}`).digest("hex");
  record(dir, `sha256/${chain}`, { "cache-id": id, diff, parent });
  return `sha256:${chain}`;
}

Deno.test("the layer below each is found in Docker's records, of images as far as their digests confirm it", async () => {
  using dir = TempDir.make();
  assert.deepEqual(await recordedParents(dir.path), new Map());
  const base = recordLayer(dir, "base");
  const middle = recordLayer(dir, "middle", base);
  const top = recordLayer(dir, "top", middle);
  record(dir, "mounts/one", { "mount-id": "box", "init-id": "box-init", parent: top });
  record(dir, "mounts/two", { "mount-id": "bare", parent: middle });
  record(dir, "mounts/three", { "mount-id": "scratch" });
  const parents = { middle: "base", top: "middle", "box-init": "top", box: "box-init", bare: "middle" };
  assert.deepEqual(await recordedParents(dir.path), new Map(Object.entries(parents)));
  record(dir, `sha256/${top.slice(7)}`, { parent: base });
  const { top: _, ...confirmed } = parents;
  assert.deepEqual(await recordedParents(dir.path), new Map(Object.entries(confirmed)));
});

Deno.test("what Docker's records say of one layer: its digest if it is an image's, and the layer below it", async () => {
  using dir = TempDir.make();
  assert.equal(await recordedLayers(dir.path), undefined);
  const base = recordLayer(dir, "base");
  const top = recordLayer(dir, "top", base);
  record(dir, "mounts/one", { "mount-id": "box", "init-id": "box-init", parent: top });
  record(dir, "mounts/two", { "mount-id": "bare", parent: base });
  record(dir, "sha256/removed", { "cache-id": undefined });
  const recorded = {
    base: { diffId: diffOf("base") },
    top: { diffId: diffOf("top"), parent: "base" },
    "box-init": { parent: "top" },
    box: { parent: "box-init" },
    bare: { parent: "base" },
  };
  for (const [id, layer] of Object.entries(recorded)) assert.deepEqual(await recordedLayer(dir.path, id), layer);
  assert.equal(await recordedLayer(dir.path, "other"), undefined);
  const { ofImages, others } = await recordedLayers(dir.path) ?? {};
  assert.deepEqual([...ofImages ?? []].sort(), ["base", "top"]);
  assert.deepEqual([...others ?? []].sort(), ["bare", "box", "box-init"]);
});

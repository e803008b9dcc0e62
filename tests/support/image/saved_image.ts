/**
 * Reads the output of `docker save` without Docker.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

/** "sha256:…" of each layer's tar in an archive of one image, lowest first: the diffIDs if the bytes are right. */
export async function savedDiffIds(archive: string): Promise<string[]> {
  const [image] = JSON.parse(new TextDecoder().decode(await extract(archive, "manifest.json")));
  const layers = image.Layers as string[];
  return await Promise.all(layers.map(async (name) => {
    return `sha256:${createHash("sha256").update(await extract(archive, name)).digest("hex")}`;
  }));
}

async function extract(archive: string, name: string): Promise<Uint8Array> {
  const { success, stdout } = await new Deno.Command("tar", { args: ["-xOf", archive, name] }).output();
  assert.ok(success, `${name} of ${archive}`);
  return stdout;
}

/**
 * Converts one whole file system to a RAFS image without a registry: a blob and its bootstrap.
 *
 * ```ts
 * using tar = await Deno.open("rootfs.tar");
 * const { bootstrap, blobId } = await convertToFolder(fromTar(tar.readable), "blobs"); // writes blobs/<blobId>
 * ```
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import { writeAll } from "../../../ffi/unistd.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { CompressPool } from "./chunks/compress_pool.ts";
import { buildLayer, type Entries } from "./layer/build_layer.ts";
import type { BuiltLayer, LayerBuilderOptions } from "./layer/layer_builder.ts";
import { mergeLayers } from "./merge/merge_layers.ts";
import { type RafsOptions, rafsOptions } from "./format/rafs_options.ts";

/** Builds the blob and the image's bootstrap, which refers to it. Names that look like whiteouts are ordinary files. */
export async function convertTree(entries: Entries, options: LayerBuilderOptions): Promise<BuiltLayer> {
  const layer = await buildLayer(entries, options);
  const tree = openBootstrap(layer.bootstrap);
  const only = { tree, blobId: layer.blobId, what: "tree", hasWhiteouts: false };
  const { bootstrap } = mergeLayers([only], options.rafs);
  return { ...layer, bootstrap: bootstrap.whole() };
}

/** Like {@link convertTree}, in Workers. The blob is written to `dir` under its id. */
export async function convertToFolder(
  entries: Entries,
  dir: string,
  options: Partial<RafsOptions> = {},
): Promise<BuiltLayer> {
  const rafs = rafsOptions(options);
  using pool = new CompressPool();
  const part = `${dir}/blob.part`;
  using file = open(part, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
  const image = await convertTree(entries, { rafs, compressor: pool, write: (bytes) => writeAll(file, bytes) });
  await Deno.rename(part, `${dir}/${image.blobId}`);
  return image;
}

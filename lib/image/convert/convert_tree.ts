/**
 * One whole file system as a RAFS image without a registry around it: a blob and its bootstrap.
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
import { TarReader } from "../../archive/tar_reader.ts";
import { freeMemory } from "../../base/free_memory.ts";
import { prepareDigests } from "../../blob/codec/codec.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { CompressPool } from "./compress_pool.ts";
import { type BuiltLayer, LayerBuilder, type LayerBuilderOptions } from "./layer_builder.ts";
import { mergeLayers } from "./merge_layers.ts";
import { type RafsOptions, rafsOptions } from "./rafs_options.ts";

/** Bytes of an archive after which what its pieces left is collected: the runtime waits for long, as it is not its heap. */
const GARBAGE_BYTES = 64 << 20;

/** Feeds a builder its entries, and lets it settle when it is full. */
export type Entries = (builder: LayerBuilder) => Promise<void>;

/** The entries of an archive. */
export function fromTar(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Entries {
  return async (builder) => {
    const reader = new TarReader(builder);
    let garbageBytes = 0;
    for await (const piece of pieces) {
      reader.push(piece);
      if (builder.isFull) await builder.settle();
      garbageBytes += piece.length;
      if (garbageBytes < GARBAGE_BYTES) continue;
      garbageBytes = 0;
      await freeMemory();
    }
    reader.finish();
  };
}

/** Makes a layer's blob. */
export async function buildLayer(entries: Entries, options: LayerBuilderOptions): Promise<BuiltLayer> {
  await prepareDigests(options.rafs.digester);
  const builder = new LayerBuilder(options);
  await entries(builder);
  return await builder.finish();
}

/** Makes the blob and the image's bootstrap, which names it. Names that look like whiteouts are files. */
export async function convertTree(entries: Entries, options: LayerBuilderOptions): Promise<BuiltLayer> {
  const layer = await buildLayer(entries, options);
  const tree = openBootstrap(layer.bootstrap);
  const { bootstrap } = mergeLayers([{ tree, blobId: layer.blobId, hasWhiteouts: false }], options.rafs);
  return { ...layer, bootstrap };
}

/** As {@link convertTree}, in Workers; the blob becomes the file of `dir` that is named by its id. */
export async function convertToFolder(
  entries: Entries,
  dir: string,
  options: Partial<RafsOptions> = {},
): Promise<BuiltLayer> {
  const rafs = rafsOptions(options);
  using pool = new CompressPool(rafs);
  const part = `${dir}/blob.part`;
  using file = open(part, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
  const image = await convertTree(entries, { rafs, compressor: pool, write: (bytes) => writeAll(file, bytes) });
  await Deno.rename(part, `${dir}/${image.blobId}`);
  return image;
}

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
import { layerReader } from "../../archive/layer_reader.ts";
import { TarReader, type TarVisitor } from "../../archive/tar_reader.ts";
import { freeMemory } from "../../base/free_memory.ts";
import { prepareDigests } from "../../blob/codec/codec.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { CompressPool } from "./chunks/compress_pool.ts";
import { type BuiltLayer, LayerBuilder, type LayerBuilderOptions } from "./layer/layer_builder.ts";
import { mergeLayers } from "./merge/merge_layers.ts";
import { type RafsOptions, rafsOptions } from "./format/rafs_options.ts";

/**
 * Bytes of an archive between forced garbage collections: its pieces are outside the heap, so the runtime waits too
 * long.
 */
const GARBAGE_BYTES = 64 << 20;

/** Feeds entries to a builder, and awaits `settle` when it is full. */
export type Entries = (builder: LayerBuilder) => Promise<void>;

type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The entries of an archive of files. */
export function fromTar(pieces: Pieces): Entries {
  return entriesOf(pieces, (builder) => new TarReader(builder));
}

/** The entries of an image's layer. */
export function fromLayer(pieces: Pieces): Entries {
  return entriesOf(pieces, layerReader);
}

function entriesOf(pieces: Pieces, read: (visitor: TarVisitor) => TarReader): Entries {
  return async (builder) => {
    const reader = read(builder);
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

/** Builds a layer's blob. */
export async function buildLayer(entries: Entries, options: LayerBuilderOptions): Promise<BuiltLayer> {
  await prepareDigests(options.rafs.digester);
  const builder = new LayerBuilder(options);
  await entries(builder);
  return await builder.finish();
}

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

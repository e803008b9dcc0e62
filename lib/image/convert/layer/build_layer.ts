/**
 * Builds a layer's blob from its entries: those of a tar, or of anything else that feeds a {@link LayerBuilder}.
 *
 * @module
 */
import { layerReader } from "../../../archive/layer_reader.ts";
import { TarReader, type TarVisitor } from "../../../archive/tar_reader.ts";
import { freeMemory } from "../../../base/free_memory.ts";
import { prepareDigests } from "../../../blob/codec/codec.ts";
import { type BuiltLayer, LayerBuilder, type LayerBuilderOptions } from "./layer_builder.ts";

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

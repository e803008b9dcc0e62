/**
 * Extracts the bootstrap from a layer (a tar, plain or gzip), along with the chunk tables of its blobs, if any.
 *
 * gzip layers may have several members, as eStargz and parallel compressors write them; Deno's DecompressionStream
 * reads only the first one.
 *
 * @module
 */
import { pipeline } from "node:stream/promises";
import { TarError } from "../../archive/tar.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import { toByteString } from "../../base/bytes.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { nodeZlib } from "../../base/node_modules.ts";
import { DROP_INTERVAL_BYTES, type ImageMemory, partsOf } from "../../rafs/memory/image_memory.ts";
import { MAX_BOOTSTRAP } from "../../rafs/blob/toc.ts";

/** Names of a bootstrap in a layer, newest convention first. */
export const NAMES_IN_LAYER: readonly string[] = ["image/image.boot", "image.boot"];

/** `<id>.blob.meta` next to the bootstrap, written by newer converters. */
const META_IN_LAYER = /^image\/([0-9a-f]{64})\.blob\.meta$/;

/** The contents of a bootstrap layer. */
export interface BootstrapLayer {
  readonly bootstrap: Uint8Array;
  /** Chunk tables by blob ID, in the format of the cache. */
  readonly metas: ReadonlyMap<string, Uint8Array>;
}

/** The compression of a layer, detected from its first bytes. */
export type LayerCompression = "none" | "gzip" | "zstd";

/** Magic numbers of a zstd frame and of a skippable frame, big-endian, and the mask of the latter's variable digit. */
const ZSTD = 0x28b52ffd, ZSTD_SKIPPABLE = 0x502a4d18, ANY_KIND = 0x0f000000;

/** Detects gzip and zstd by their magic numbers; returns "none" for anything else. */
export function layerCompression(head: Uint8Array): LayerCompression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  if (head.length < 4) return "none";
  const magic = new DataView(head.buffer, head.byteOffset).getUint32(0);
  return magic === ZSTD || (magic & ~ANY_KIND) === ZSTD_SKIPPABLE ? "zstd" : "none";
}

/** Like {@link readBootstrapLayer}, of a layer in `memory`, whose compression is detected. */
export async function readBootstrapLayerIn(
  memory: ImageMemory,
  layer: Uint8Array<ArrayBuffer>,
  what: string,
): Promise<BootstrapLayer | undefined> {
  const compression = layerCompression(layer);
  return await readBootstrapLayer(ReadableStream.from(copiesOf(layer, memory)), compression, what, memory);
}

/** Copies, since a decompressor may still read after a failure, when `memory` is unmapped. */
function* copiesOf(layer: Uint8Array<ArrayBuffer>, memory: ImageMemory): Generator<Uint8Array<ArrayBuffer>> {
  for (const part of partsOf(layer, memory)) yield part.slice() as Uint8Array<ArrayBuffer>;
}

/**
 * Extracts the bootstrap and chunk tables of a layer; undefined if it has no bootstrap. Reads the whole layer, so that
 * damage after the bootstrap is detected.
 *
 * @param what the layer's name in messages: "layer /tmp/x.tar.gz"
 * @param memory for the result: a few bytes of gzip may expand to the largest bootstrap
 * @throws {NydusGdError} "invalid-image" for damaged gzip, as TarError for a damaged tar; "unsupported" for zstd
 */
export async function readBootstrapLayer(
  layer: ReadableStream<Uint8Array>,
  compression: LayerCompression,
  what: string,
  memory: ImageMemory,
): Promise<BootstrapLayer | undefined> {
  try {
    return await searchLayer(layer, compression, what, memory);
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    const code = error.code === "unsupported" ? "unsupported" : "invalid-image";
    throw new TarError(`Cannot read ${what}: ${error.message.replace(/^C/, "c")}`, code, { cause: error });
  }
}

async function searchLayer(
  layer: ReadableStream<Uint8Array>,
  compression: LayerCompression,
  what: string,
  memory: ImageMemory,
): Promise<BootstrapLayer | undefined> {
  const search = new BootstrapSearch(memory);
  const reader = new TarReader(search);
  const take = async (tar: AsyncIterable<Uint8Array>) => {
    for await (const piece of tar) reader.push(piece);
  };
  switch (compression) {
    case "none":
      await take(layer);
      break;
    case "gzip":
      try {
        await pipeline(layer, nodeZlib().createGunzip(), take);
      } catch (error) {
        if (!isZlibError(error)) throw error;
        throw new NydusGdError("invalid-image", `Cannot read ${what}: its gzip is damaged: ${messageOf(error)}`, {
          cause: error,
        });
      }
      break;
    case "zstd":
      await layer.cancel();
      throw new NydusGdError("unsupported", `Cannot read ${what}: it is compressed with zstd`, {
        hint: "decompress it, or push it again with gzip",
      });
  }
  reader.finish();
  return search.found;
}

/** Collects the wanted files. If a name occurs twice, the last one counts, as when a layer is unpacked. */
class BootstrapSearch {
  readonly #files = new Map<string, Uint8Array>();
  #content: Uint8Array | undefined;
  #keptBytes = 0;
  #filledBytes = 0;

  constructor(private readonly memory: ImageMemory) {}

  get found(): BootstrapLayer | undefined {
    const bootstrap = NAMES_IN_LAYER.map((name) => this.#files.get(name)).find((content) => content !== undefined);
    if (bootstrap === undefined) return undefined;
    const metas = new Map<string, Uint8Array>();
    for (const [path, content] of this.#files) {
      const id = META_IN_LAYER.exec(path)?.[1];
      if (id !== undefined) metas.set(id, content);
    }
    return { bootstrap, metas };
  }

  entry({ name, type, sizeBytes }: { readonly name: Uint8Array; readonly type: string; readonly sizeBytes: number }) {
    this.#content = undefined;
    const path = toByteString(name).replace(/^(\.?\/+)+/, "");
    if (!NAMES_IN_LAYER.includes(path) && !META_IN_LAYER.test(path)) return;
    this.#keptBytes -= this.#files.get(path)?.length ?? 0;
    this.#files.delete(path);
    if (type !== "file") return;
    this.#keptBytes += sizeBytes;
    if (this.#keptBytes > MAX_BOOTSTRAP) {
      throw new TarError(`Cannot read bootstrap layer: ${path} and what is before it exceed ${MAX_BOOTSTRAP} bytes`);
    }
    this.#content = this.memory.allocate(sizeBytes);
    this.#files.set(path, this.#content);
  }

  data(piece: Uint8Array, offset: number): void {
    if (this.#content === undefined) return;
    this.#content.set(piece, offset);
    this.#filledBytes += piece.length;
    if (this.#filledBytes < DROP_INTERVAL_BYTES) return;
    this.#filledBytes = 0;
    this.memory.dropPages();
  }

  endEntry(): void {}
}

/** Whether `error` is zlib's error for damaged or foreign data. */
export function isZlibError(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("Z_");
}

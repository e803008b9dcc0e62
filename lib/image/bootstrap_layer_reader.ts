/**
 * Takes the bootstrap out of a layer: a tar, plain or gzip.
 *
 * gzip may have several members, as eStargz layers and those of parallel compressors do; Deno's own DecompressionStream
 * takes one only.
 *
 * @module
 */
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { TarError } from "../archive/tar.ts";
import { TarReader } from "../archive/tar_reader.ts";
import { toByteString } from "../base/bytes.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { MAX_BOOTSTRAP } from "../rafs/toc.ts";

/** Where a bootstrap is in a layer, newest convention first. */
const NAMES_IN_LAYER = ["image/image.boot", "image.boot"];

/** How the bytes of a layer are compressed, by their first ones. */
export type LayerCompression = "none" | "gzip" | "zstd";

/** Tells gzip and zstd by their magic numbers; "none" is not looked at further. */
export function layerCompression(head: Uint8Array): LayerCompression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  return head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd ? "zstd" : "none";
}

/**
 * The bootstrap in a layer, undefined when there is none. The whole layer is read, so that damage behind it shows.
 *
 * @param what the layer in messages: "layer /tmp/x.tar.gz"
 * @throws {NydusGdError} "invalid-image" on damaged gzip, as {@link TarError} on a damaged tar; "unsupported" for zstd
 */
export async function bootstrapOfLayer(
  layer: ReadableStream<Uint8Array>,
  compression: LayerCompression,
  what: string,
): Promise<Uint8Array | undefined> {
  const search = new BootstrapSearch();
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
        await pipeline(layer, createGunzip(), take);
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
  return search.bootstrap;
}

/** Keeps the files of {@link NAMES_IN_LAYER}; of two of one name the later counts, as it does when a layer is unpacked. */
class BootstrapSearch {
  readonly #found = new Map<string, Uint8Array>();
  #content: Uint8Array | undefined;

  get bootstrap(): Uint8Array | undefined {
    return NAMES_IN_LAYER.map((name) => this.#found.get(name)).find((content) => content !== undefined);
  }

  entry({ name, type, sizeBytes }: { readonly name: Uint8Array; readonly type: string; readonly sizeBytes: number }) {
    this.#content = undefined;
    const path = toByteString(name).replace(/^(\.?\/+)+/, "");
    if (!NAMES_IN_LAYER.includes(path)) return;
    this.#found.delete(path);
    if (type !== "file") return;
    if (sizeBytes > MAX_BOOTSTRAP) {
      throw new TarError(`Cannot read bootstrap ${path}: it has ${sizeBytes} bytes, ${MAX_BOOTSTRAP} at most`);
    }
    this.#content = new Uint8Array(sizeBytes);
    this.#found.set(path, this.#content);
  }

  data(piece: Uint8Array, offset: number): void {
    this.#content?.set(piece, offset);
  }

  endEntry(): void {}
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("Z_");
}

/**
 * The tree of tars: one in a file, or the layers of an ordinary image, merged.
 *
 * Layers are plain, gzip of one or more members, or zstd, as their first bytes tell. Each is compared with its digest.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { TarReader } from "../../archive/tar_reader.ts";
import type { BlobSource } from "../../backend/blob_source.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestAlgorithm } from "../../oci/digest.ts";
import { layerCompression } from "../bootstrap_layer_reader.ts";
import { SourceTree } from "./source_tree.ts";
import { TarTree } from "./tar_tree.ts";

/** Bytes of a layer that are read at once. */
const PIECE_BYTES = 4 << 20;

/** One layer, and where its bytes are. */
export interface SourceLayer {
  readonly descriptor: Pick<Descriptor, "digest" | "size">;
  readonly source: BlobSource;
}

/**
 * The tree of a tar file that is a whole file system.
 *
 * @throws {NydusGdError} "not-found", "invalid-image"
 */
export async function tarTree(path: string, signal: AbortSignal): Promise<SourceTree> {
  const tree = new SourceTree();
  try {
    using file = await Deno.open(path);
    const pieces = async function* () {
      for (;;) {
        throwIfAborted(signal);
        const piece = new Uint8Array(PIECE_BYTES);
        const count = await file.read(piece);
        if (count === null) return;
        yield piece.subarray(0, count);
      }
    };
    await addTar(tree, pieces(), false, path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new NydusGdError("not-found", `Cannot read tar ${path}: there is no such file`, { cause });
  }
  return tree;
}

/**
 * The tree of an image's layers, lowest first.
 *
 * @throws {NydusGdError} "corrupt" for a layer that is not what its digest says, "invalid-image"; what its home says
 */
export async function layersTree(
  layers: readonly SourceLayer[],
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  const tree = new SourceTree();
  for (const layer of layers) {
    tree.beginLayer();
    await addTar(tree, layerPieces(layer, signal, onProgress), true, `layer ${layer.descriptor.digest}`);
  }
  return tree;
}

async function* layerPieces(
  { descriptor: { digest, size }, source }: SourceLayer,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const algorithm = digestAlgorithm(digest);
  const hash = createHash(algorithm);
  for (let offset = 0; offset < size; offset += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, size - offset);
    const piece = await source.read(offset, length, { priority: "on-demand", signal });
    hash.update(piece);
    onProgress(length);
    yield piece;
  }
  const actual = `${algorithm}:${hash.digest("hex")}`;
  if (actual !== digest) throw new NydusGdError("corrupt", `Cannot read layer ${digest}: its digest is ${actual}`);
}

async function addTar(
  tree: SourceTree,
  pieces: AsyncGenerator<Uint8Array>,
  isLayer: boolean,
  what: string,
): Promise<void> {
  const reader = new TarReader(new TarTree(tree, isLayer));
  const take = async (tar: AsyncIterable<Uint8Array>) => {
    for await (const piece of tar) reader.push(piece);
  };
  const { value: head, done } = await pieces.next();
  const first = done ? new Uint8Array(0) : head;
  const all = async function* () {
    yield first;
    yield* pieces;
  };
  const decompress = decompressorOf(first);
  if (decompress === undefined) await take(all());
  else {
    try {
      await pipeline(all(), decompress, take);
    } catch (error) {
      // zlib names what is wrong with its input by codes of its own
      if (!(error instanceof Error && "code" in error && /^(Z_|ZSTD_)/.test(String(error.code)))) throw error;
      throw new NydusGdError("invalid-image", `Cannot read ${what}: it is damaged: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
  try {
    reader.finish();
  } catch (error) {
    if (!hasCode(error, "invalid-image")) throw error;
    throw new NydusGdError(error.code, `Cannot read ${what}: ${error.message}`, { cause: error });
  }
}

function decompressorOf(head: Uint8Array): Transform | undefined {
  switch (layerCompression(head)) {
    case "none":
      return undefined;
    case "gzip":
      return createGunzip();
    case "zstd":
      return createZstdDecompress();
  }
}

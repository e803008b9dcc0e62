/**
 * Reads the tree of a single tar, or the merged tree of an ordinary image's layers.
 *
 * Layers are uncompressed, gzip (one or more members) or zstd, detected from their first bytes. Each is verified
 * against its digest.
 *
 * @module
 */
import { layerReader } from "../../archive/layer_reader.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import type { BlobSource } from "../../backend/blob_source.ts";
import type { Digest } from "../../oci/digest.ts";
import { streamBlob } from "../source/blob_stream.ts";
import { tarOfLayer } from "../source/layer_tar.ts";
import { streamFile } from "../source/file_stream.ts";
import { counted } from "../source/counted.ts";
import { SourceTree } from "./source_tree.ts";
import { TarTree, type TarTreeOptions } from "./tar_tree.ts";

/** One layer, and the source of its bytes. */
export interface StoredLayer {
  /** Undefined if not known. */
  readonly digest: Digest | undefined;
  /** Bytes. */
  readonly size: number;
  readonly source: BlobSource;
}

/**
 * Returns the tree of a tar file that contains a whole file system.
 *
 * @throws {NydusGdError} "not-found", "invalid-image"
 */
export async function tarTree(path: string, signal: AbortSignal): Promise<SourceTree> {
  const tree = new SourceTree();
  const expected = { what: `tar ${path}`, doing: "compare", digest: undefined, diffId: undefined } as const;
  await addTar(tree, tarOfLayer(streamFile(path, signal), expected), { isLayer: false });
  return tree;
}

/**
 * Returns the merged tree of an image's layers, given lowest first.
 *
 * @throws {NydusGdError} "corrupt" for a layer that does not match its digest, "invalid-image"; errors of its backend
 */
export async function layersTree(
  layers: readonly StoredLayer[],
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  const tree = new SourceTree();
  for (const { digest, size, source } of layers) {
    tree.beginLayer();
    const stored = counted(streamBlob(source, size, signal), onProgress);
    const expected = {
      what: digest === undefined ? source.description : `layer ${digest}`,
      doing: "compare",
      digest,
      diffId: undefined,
    } as const;
    await addTar(tree, tarOfLayer(stored, expected), { isLayer: true });
  }
  return tree;
}

async function addTar(tree: SourceTree, tar: AsyncIterable<Uint8Array>, options: TarTreeOptions): Promise<void> {
  const visitor = new TarTree(tree, options);
  const reader = options.isLayer ? layerReader(visitor) : new TarReader(visitor);
  for await (const piece of tar) reader.push(piece);
  reader.finish();
  visitor.finish();
}

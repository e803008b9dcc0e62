/**
 * The tree of tars: one in a file, or the layers of an ordinary image, merged.
 *
 * Layers are plain, gzip of one or more members, or zstd, as their first bytes tell. Each is compared with its digest.
 *
 * @module
 */
import { TarReader } from "../../archive/tar_reader.ts";
import type { BlobSource } from "../../backend/blob_source.ts";
import type { Digest } from "../../oci/digest.ts";
import { streamBlob } from "../convert/blob_stream.ts";
import { tarOfLayer } from "../convert/layer_tar.ts";
import { streamFile } from "../source/file_stream.ts";
import { counted } from "../convert/source_image.ts";
import { SourceTree } from "./source_tree.ts";
import { TarTree } from "./tar_tree.ts";

/** One layer, and where its bytes are. */
export interface SourceLayer {
  /** Undefined: it has none that is known. */
  readonly digest: Digest | undefined;
  /** Bytes. */
  readonly size: number;
  readonly source: BlobSource;
}

/**
 * The tree of a tar file that is a whole file system.
 *
 * @throws {NydusGdError} "not-found", "invalid-image"
 */
export async function tarTree(path: string, signal: AbortSignal): Promise<SourceTree> {
  const tree = new SourceTree();
  const expected = { what: `tar ${path}`, doing: "compare", digest: undefined, diffId: undefined } as const;
  await addTar(tree, tarOfLayer(streamFile(path, signal), expected), false);
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
  for (const { digest, size, source } of layers) {
    tree.beginLayer();
    const stored = counted(streamBlob(source, size, signal), onProgress);
    const expected = {
      what: digest === undefined ? source.description : `layer ${digest}`,
      doing: "compare",
      digest,
      diffId: undefined,
    } as const;
    await addTar(tree, tarOfLayer(stored, expected), true);
  }
  return tree;
}

async function addTar(tree: SourceTree, tar: AsyncIterable<Uint8Array>, isLayer: boolean): Promise<void> {
  const reader = new TarReader(new TarTree(tree, isLayer));
  for await (const piece of tar) reader.push(piece);
  reader.finish();
}

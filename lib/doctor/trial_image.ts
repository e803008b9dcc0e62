/**
 * A tiny image made by our own writer, for the trial mount.
 *
 * @module
 */
import { tarEntry, type TarType } from "../archive/tar.ts";
import { concatenate } from "../base/bytes.ts";
import { INLINE } from "../image/convert/chunks/compress_pool.ts";
import { convertTree } from "../image/convert/convert_tree.ts";
import { rafsOptions } from "../image/convert/format/rafs_options.ts";

const CHUNK_BYTES = 0x1000;

/** An image, and the expected results of reading it. */
export interface TrialImage {
  readonly bootstrap: Uint8Array<ArrayBuffer>;
  /** Name of the blob in its backend. */
  readonly blobId: string;
  readonly blob: Uint8Array<ArrayBuffer>;
  /** Contents by path below the mount. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** A symbolic link and its target. */
  readonly link: readonly [path: string, target: string];
}

/**
 * Builds an image of files with zero, one and several chunks, compressed and uncompressed, one of them in a directory.
 */
export async function makeTrialImage(): Promise<TrialImage> {
  const files = new Map([
    ["empty", new Uint8Array(0)],
    ["text", new TextEncoder().encode("A container starts before its image is here.\n".repeat(200))],
    ["folder/random", crypto.getRandomValues(new Uint8Array(5 * CHUNK_BYTES + 1))],
  ]);
  const link = ["link", "folder/random"] as const;
  const pieces: Uint8Array[] = [];
  const rafs = rafsOptions({ chunkSize: CHUNK_BYTES });
  const { bootstrap, blobId } = await convertTree((builder) => {
    const add = (type: TarType, name: string, { target = "", bytes = new Uint8Array(0) } = {}) => {
      const encode = (text: string) => new TextEncoder().encode(text);
      builder.entry(tarEntry({ type, name: encode(name), linkName: encode(target), sizeBytes: bytes.length }));
      if (bytes.length > 0) builder.data(bytes, 0);
      builder.endEntry();
    };
    add("directory", "./");
    add("directory", "folder");
    for (const [name, bytes] of files) add("file", name, { bytes });
    add("symlink", link[0], { target: link[1] });
    return Promise.resolve();
  }, { rafs, compressor: INLINE, write: (bytes) => void pieces.push(bytes.slice()) });
  return { bootstrap, blobId, blob: concatenate(pieces), files, link };
}

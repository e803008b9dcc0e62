/**
 * Implements `nydus-gd unpack`: writes the whole tree of an image to a sink.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import type { Backend } from "../../backend/blob_source.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { BlobCache, type BlobCacheOptions } from "../../blob/blob_cache.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { fileContents } from "../tree/file_contents.ts";
import { findBootstrap } from "../source/find_bootstrap.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";
import { OpenImage } from "../open_image.ts";
import { filesOf, namedEntries, type NamedEntry, xattrsOf } from "../tree/tree_entries.ts";
import type { LeftOut, TreeSink, UnpackedEntry } from "./tree_sink.ts";

/** What to unpack, and where to. */
export interface UnpackOptions {
  /** The file to pass to {@link findBootstrap}. */
  readonly source: string;
  /** What it is to the user, for messages. */
  readonly sourceName: string;
  readonly backend: Backend;
  readonly sink: TreeSink;
  /** Folder for an unpacked bootstrap, and for fetched chunks without a `cacheDir`. Temporary. */
  readonly folder: string;
  /** Folder of a cache to use and fill. */
  readonly cacheDir: string | undefined;
  /** How the cache fetches. */
  readonly fetching: Partial<BlobCacheOptions>;
  readonly signal: AbortSignal;
  /** Called with the uncompressed file bytes written so far, and their total. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** The result of unpacking. */
export interface UnpackResult {
  readonly names: number;
  /** Uncompressed bytes of files. */
  readonly bytes: number;
  readonly leftOut: Readonly<LeftOut>;
}

/**
 * Unpacks an image. A failure leaves nothing behind.
 *
 * @throws {NydusGdError} "invalid-image", "unsupported", "corrupt" for the image, "io" for the destination; errors of
 * the backend
 */
export async function unpackImage(options: UnpackOptions): Promise<UnpackResult> {
  const { source, sourceName, backend, folder, cacheDir, fetching, sink } = options;
  try {
    const { path, container } = await findBootstrap(source, `${folder}/image.boot`, sourceName);
    const keep = cacheDir !== undefined && (fetching.keep ?? true);
    await using cache = BlobCache.open(cacheDir ?? folder, { ...fetching, keep });
    const bootstrap = MappedBootstrap.open(path);
    await using image = OpenImage.open({ name: "unpack", bootstrap, container, backend, cache });
    const result = await writeTree(image, options);
    await sink.finish();
    return { ...result, leftOut: sink.leftOut };
  } catch (error) {
    await sink.discard();
    throw error;
  }
}

async function writeTree(
  image: OpenImage,
  { sink, signal, onProgress }: UnpackOptions,
): Promise<Pick<UnpackResult, "names" | "bytes">> {
  const { tree } = image;
  const totalBytes = filesOf(tree).reduce((sum, { size }) => sum + size, 0);
  const contents = fileContents(image, filesOf(tree), signal);
  let names = 0, bytes = 0;
  for (const entry of namedEntries(tree)) {
    throwIfAborted(signal);
    names++;
    const { mode, size } = entry.attr;
    await sink.entry(whole(tree, entry));
    if ((mode & S.IFMT) !== S.IFREG || entry.linkTo !== undefined) continue;
    for (let offset = 0; offset < size;) {
      const { value, done } = await contents.next();
      if (done || value.ino !== entry.ino || value.offset !== offset) {
        throw new NydusGdError("internal", `Cannot unpack inode ${entry.ino}: its content is out of turn`);
      }
      await sink.data(value.bytes, offset);
      offset += value.bytes.length;
      onProgress(bytes += value.bytes.length, totalBytes);
    }
  }
  return { names, bytes };
}

function whole(tree: Bootstrap, { path, ino, attr, linkTo }: NamedEntry): UnpackedEntry {
  const isLink = (attr.mode & S.IFMT) === S.IFLNK;
  return {
    path,
    ino,
    attr,
    linkTo,
    target: isLink ? tree.readlink(ino) : new Uint8Array(0),
    xattrs: xattrsOf(tree, ino),
  };
}

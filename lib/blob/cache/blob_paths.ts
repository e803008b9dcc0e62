/**
 * The files of the cache folder, by name. Those of a blob are named after its id, or as in blob_names.ts.
 *
 * | file | content |
 * |---|---|
 * | `<name>.blob.data` | plain chunks at their uncompressed offsets; sparse, as large as the blob's address space |
 * | `<name>.blob.data.chunk_map` | chunk_map.ts |
 * | `<name>.blob.meta` | the blob's chunk table, v6 only: lib/rafs/blob/cache_layout.ts |
 * | `<name>.blob.meta.doubtful` | a table that led to wrong bytes, kept in case no other is available; not nydusd's |
 * | `<name>.blob.verified` | verified.ts; not nydusd's |
 * | `<name>.blob.copies` | copies_record.ts; not nydusd's |
 * | `<file>.tmp` | a file that is being written, or was when its writer was killed |
 * | `<file>.set-aside` | a file that was not what its name says |
 * | `.nydus-gd.unwanted` | unwanted_owners.ts |
 * | `.nydus-gd.lock` | held by the one server that uses the folder |
 * | `transient/` | the folder of a cache that keeps nothing: its files are unlinked once open |
 * | `fscache/` | the kernel's own cache with its copies: lib/mount/fscache |
 *
 * Names are those of nydusd, so its cache can be taken over while it is not running.
 *
 * Source: dragonflyoss/nydus storage/src/cache/filecache/mod.rs.
 *
 * @module
 */
import { join } from "node:path";
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { NydusGdError } from "../../base/errors.ts";
import { ASIDE } from "../../base/replace_file.ts";
import { isBlobName } from "./blob_names.ts";

/** Suffixes of a blob's files. */
export const SUFFIX = {
  data: ".blob.data",
  chunkMap: ".blob.data.chunk_map",
  meta: ".blob.meta",
  doubtfulMeta: ".blob.meta.doubtful",
  verified: ".blob.verified",
  copies: ".blob.copies",
  setAside: ".set-aside",
} as const;

/** Limit that keeps file names within 255 bytes even with the longest suffixes. */
const MAX_NAME_LENGTH = 255 - SUFFIX.chunkMap.length - SUFFIX.setAside.length;

/** Name of the lock file. */
export const LOCK_NAME = ".nydus-gd.lock";

/** Folder of the kernel's own cache. */
export function kernelCacheDir(dir: string): string {
  return `${dir}/fscache`;
}

/** Paths of the files of one blob. */
export interface BlobPaths {
  readonly data: string;
  readonly chunkMap: string;
  readonly meta: string;
  /** A chunk table in doubt: ../tables/doubtful_table.ts. */
  readonly doubtfulMeta: string;
  readonly verified: string;
  readonly copies: string;
}

/**
 * Returns the paths of a blob's files in `dir`.
 *
 * @param name as in blob_names.ts
 * @throws {NydusGdError} "invalid-image" for an id that is not of `[A-Za-z0-9._-]` or contains "..", or a name that is
 * too long
 */
export function blobPaths(dir: string, name: string): BlobPaths {
  if (!isName(name)) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot cache blob ${JSON.stringify(name.slice(0, 80))}: its id is not 1 to ${MAX_NAME_LENGTH} of [A-Za-z0-9._-]`,
    );
  }
  const at = (suffix: string) => join(dir, name + suffix);
  return {
    data: at(SUFFIX.data),
    chunkMap: at(SUFFIX.chunkMap),
    meta: at(SUFFIX.meta),
    doubtfulMeta: at(SUFFIX.doubtfulMeta),
    verified: at(SUFFIX.verified),
    copies: at(SUFFIX.copies),
  };
}

/** Whether the blob was ever opened in this folder. */
export function hasDataFile({ data }: BlobPaths): boolean {
  return isThere(data);
}

/** Whether there is any file of the blob in this folder. */
export function hasFiles(paths: BlobPaths): boolean {
  return Object.values(paths).some((path) => isThere(path));
}

function isThere(path: string): boolean {
  try {
    using _file = open(path, O.PATH | O.NOFOLLOW);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** A file of a blob, by its name. */
export interface BlobFileName {
  readonly name: string;
  /** A temporary file left by a process that was killed, or a file that was set aside. */
  readonly isLeftOver: boolean;
  /** Whether its mtime is the time of the blob's last use. */
  readonly tellsUse: boolean;
}

/** The blob that a file of the folder belongs to; undefined for files with other names. */
export function blobFileOf(fileName: string): BlobFileName | undefined {
  const isLeftOver = fileName.endsWith(ASIDE) || fileName.endsWith(SUFFIX.setAside);
  const file = isLeftOver ? fileName.slice(0, fileName.lastIndexOf(".")) : fileName;
  const { setAside: _, ...suffixes } = SUFFIX;
  const suffix = Object.values(suffixes).find((each) => file.endsWith(each));
  const name = suffix === undefined ? "" : file.slice(0, -suffix.length);
  return isName(name) ? { name, isLeftOver, tellsUse: suffix === SUFFIX.chunkMap } : undefined;
}

function isName(name: string): boolean {
  return isBlobName(name) && name.length <= MAX_NAME_LENGTH;
}

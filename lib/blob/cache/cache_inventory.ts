/**
 * Contents of the cache folder: blobs, and files left by processes that were killed.
 *
 * Files with other names belong to someone else and are never touched. Sizes are the allocated blocks, because the
 * files are sparse.
 *
 * @module
 */
import { join } from "node:path";
import { ignore } from "../../base/errors.ts";
import { ownerOf } from "./blob_names.ts";
import { blobFileOf, blobPaths, LOCK_NAME } from "./blob_paths.ts";
import { occupiedBytes } from "./cache_usage.ts";
import { VerifiedDigests } from "./verified.ts";

/** The files of one blob. */
export interface StoredBlob {
  /** Name of its files: the blob's id, or as in blob_names.ts. */
  readonly name: string;
  /** Owner of the files: one of `BlobNames.owners` of the images that use them. */
  readonly owner: string;
  /** Bytes occupied by all of its files. */
  readonly bytes: number;
  /** When it was last opened, closed or written, milliseconds since 1970: the mtime of its chunk map. */
  readonly lastUsedMs: number;
}

/** A file that nothing reads any more. */
export interface LeftOver {
  readonly path: string;
  readonly bytes: number;
}

/** Blobs and left-over files found in the cache folder. */
export interface CacheInventory {
  /** Least recently used first. */
  readonly blobs: readonly StoredBlob[];
  /** Temporary files that were never renamed, and files set aside because of damage. */
  readonly leftOvers: readonly (LeftOver & Pick<StoredBlob, "name">)[];
}

/** Scans the folder. Files that vanish during the scan are skipped. */
export async function takeInventory(dir: string): Promise<CacheInventory> {
  const blobs = new Map<string, Omit<StoredBlob, "owner">>();
  const leftOvers: (LeftOver & Pick<StoredBlob, "name">)[] = [];
  for await (const { name: fileName, isFile } of Deno.readDir(dir)) {
    if (!isFile || fileName === LOCK_NAME) continue;
    const file = blobFileOf(fileName);
    const path = join(dir, fileName);
    const info = file && await ignore(Deno.errors.NotFound, Deno.lstat(path));
    if (file === undefined || info === undefined) continue;
    const bytes = occupiedBytes(info);
    if (file.isLeftOver) {
      leftOvers.push({ name: file.name, path, bytes });
      continue;
    }
    const { name } = file;
    const before = blobs.get(name) ?? { name, bytes: 0, lastUsedMs: 0 };
    const lastUsedMs = file.tellsUse ? info.mtime?.getTime() ?? 0 : before.lastUsedMs;
    blobs.set(name, { name, bytes: before.bytes + bytes, lastUsedMs });
  }
  const owned = Array.from(blobs.values(), (blob) => ({ ...blob, owner: ownerIn(dir, blob.name) }));
  return { blobs: owned.sort((a, b) => a.lastUsedMs - b.lastUsedMs), leftOvers };
}

/** See {@link StoredBlob.owner}. */
export function ownerIn(dir: string, name: string): string {
  return ownerOf(name, () => VerifiedDigests.descriptionIn(blobPaths(dir, name).verified));
}

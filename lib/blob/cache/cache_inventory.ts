/**
 * What the folder of a cache holds: blobs, and what was left by processes that were killed.
 *
 * Files of other names are somebody else's and are never touched. Sizes are the blocks that files occupy: they are sparse.
 *
 * @module
 */
import { join } from "node:path";
import { ignore } from "../../base/errors.ts";
import { ownerOf } from "./blob_names.ts";
import { blobFileOf, blobPaths, LOCK_NAME } from "./cache_files.ts";
import { occupiedBytes } from "./cache_usage.ts";
import { VerifiedDigests } from "./verified.ts";

/** The files of one blob. */
export interface StoredBlob {
  /** Of its files: the blob's id, or one of blob_names.ts. */
  readonly name: string;
  /** Whose they are: one of `BlobNames.owners` of the images that use them. */
  readonly owner: string;
  /** Occupied by all of its files. */
  readonly bytes: number;
  /** When it was last opened, closed or written to: the time of its chunk map. Milliseconds since 1970. */
  readonly lastUsedMs: number;
}

/** A file that nothing reads any more. */
export interface LeftOver {
  readonly path: string;
  readonly bytes: number;
}

/** See the module. */
export interface CacheInventory {
  /** In order of their last use, the oldest first. */
  readonly blobs: readonly StoredBlob[];
  /** Written aside and never renamed, or set aside because of damage. */
  readonly leftOvers: readonly (LeftOver & Pick<StoredBlob, "name">)[];
}

/** Looks at the folder. A file that goes meanwhile is not told of. */
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

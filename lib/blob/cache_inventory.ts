/**
 * What the folder of a cache holds: blobs, and what was left by processes that were killed.
 *
 * Files of other names are somebody else's and are never touched. Sizes are the blocks that files occupy: they are sparse.
 *
 * @module
 */
import { join } from "node:path";
import { ignore } from "../base/errors.ts";
import { blobFileOf, LOCK_NAME } from "./cache_files.ts";
import { occupiedBytes } from "./cache_usage.ts";

/** The files of one blob. */
export interface StoredBlob {
  readonly id: string;
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
  readonly leftOvers: readonly (LeftOver & Pick<StoredBlob, "id">)[];
}

/** Looks at the folder. A file that goes meanwhile is not told of. */
export async function takeInventory(dir: string): Promise<CacheInventory> {
  const blobs = new Map<string, StoredBlob>();
  const leftOvers: (LeftOver & Pick<StoredBlob, "id">)[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (!isFile || name === LOCK_NAME) continue;
    const file = blobFileOf(name);
    const path = join(dir, name);
    const info = file && await ignore(Deno.errors.NotFound, Deno.lstat(path));
    if (file === undefined || info === undefined) continue;
    const bytes = occupiedBytes(info);
    if (file.isLeftOver) {
      leftOvers.push({ id: file.id, path, bytes });
      continue;
    }
    const { id } = file;
    const before = blobs.get(id) ?? { id, bytes: 0, lastUsedMs: 0 };
    const lastUsedMs = file.tellsUse ? info.mtime?.getTime() ?? 0 : before.lastUsedMs;
    blobs.set(id, { id, bytes: before.bytes + bytes, lastUsedMs });
  }
  return { blobs: [...blobs.values()].sort((a, b) => a.lastUsedMs - b.lastUsedMs), leftOvers };
}

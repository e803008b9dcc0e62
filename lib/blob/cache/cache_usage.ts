/**
 * How full the cache is: what its files occupy, and what their file system has left.
 *
 * The files are sparse: what counts is the blocks they occupy (st_blocks, units of 512 bytes), not their sizes.
 *
 * @module
 */
import { join } from "node:path";
import { statfs } from "../../../ffi/sys_statfs.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { limitInBytes, type SizeLimit } from "../../base/setting_values.ts";
import { kernelCacheDir } from "./cache_files.ts";

/** All in bytes. */
export interface CacheUsage {
  readonly dir: string;
  /** Occupied by the files of the folder. */
  readonly usedBytes: number;
  /**
   * Occupied by the kernel's own copies beside them. Those of an image that is mounted for the first time have no names
   * yet and are not seen.
   */
  readonly kernelBytes: number;
  /** Left on the file system for root, who writes the cache. */
  readonly freeBytes: number;
  /** Size of the file system. */
  readonly totalBytes: number;
  /** Whether the file system can hold no further file. */
  readonly outOfInodes: boolean;
}

/** Unit of st_blocks, whatever the file system's own. */
const STAT_BLOCK_BYTES = 512;

/** Bytes that a file occupies. */
export function occupiedBytes({ blocks }: Pick<Deno.FileInfo, "blocks">): number {
  return (blocks ?? 0) * STAT_BLOCK_BYTES;
}

/**
 * Occupied by the files of a folder.
 *
 * @param deep with those of all folders below it
 * @throws {Deno.errors.NotFound} for no folder
 */
async function occupiedIn(dir: string, deep = false): Promise<number> {
  let bytes = 0;
  for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    // what is there may go meanwhile
    if (deep && isDirectory) bytes += await ignore(Deno.errors.NotFound, occupiedIn(path, true)) ?? 0;
    const info = isFile ? await ignore(Deno.errors.NotFound, Deno.lstat(path)) : undefined;
    if (info !== undefined) bytes += occupiedBytes(info);
  }
  return bytes;
}

/** How full the file system of `dir` is, in bytes. @throws {SyscallError} when it cannot be asked */
export function fileSystemFill(dir: string): { readonly freeBytes: number; readonly totalBytes: number } {
  const { blockSize, blocks, freeBlocks } = statfs(dir);
  return { freeBytes: freeBlocks * blockSize, totalBytes: blocks * blockSize };
}

/**
 * Whether the file system of `dir` has more left than is to stay free.
 *
 * @throws {SyscallError} when it cannot be asked
 */
export function hasRoom(dir: string, minFree: SizeLimit): boolean {
  const { freeBytes, totalBytes } = fileSystemFill(dir);
  return freeBytes > limitInBytes(minFree, totalBytes);
}

/**
 * Looks at the folder and its file system.
 *
 * @throws {NydusGdError} "io" when either cannot be read
 */
export async function cacheUsage(dir: string): Promise<CacheUsage> {
  try {
    const { blockSize, blocks, freeBlocks, files, freeFiles } = statfs(dir);
    return {
      dir,
      usedBytes: await occupiedIn(dir),
      kernelBytes: await ignore(Deno.errors.NotFound, occupiedIn(kernelCacheDir(dir), true)) ?? 0,
      freeBytes: freeBlocks * blockSize,
      totalBytes: blocks * blockSize,
      outOfInodes: files > 0 && freeFiles === 0,
    };
  } catch (error) {
    throw new NydusGdError("io", `Cannot look at cache "${dir}": ${messageOf(error)}`, { cause: error });
  }
}

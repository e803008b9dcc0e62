/**
 * How full the cache is: what its files occupy, and what their file system has left.
 *
 * The files are sparse: what counts is the blocks they occupy (st_blocks, units of 512 bytes), not their sizes.
 *
 * @module
 */
import { join } from "node:path";
import { statfs } from "../../ffi/sys_statfs.ts";
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { limitInBytes, type SizeLimit } from "../base/setting_values.ts";
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

/** Occupied by the files of a folder, without what is in folders of it. @throws {Deno.errors.NotFound} for none */
async function occupiedIn(dir: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (!isFile) continue;
    const info = await ignore(Deno.errors.NotFound, Deno.lstat(join(dir, name))); // a file may go meanwhile
    if (info !== undefined) bytes += occupiedBytes(info);
  }
  return bytes;
}

/** {@link occupiedIn} the folder and every folder below it; 0 where there is none. */
async function occupiedBelow(dir: string): Promise<number> {
  const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(dir)));
  if (entries === undefined) return 0;
  let bytes = await ignore(Deno.errors.NotFound, occupiedIn(dir)) ?? 0;
  for (const { name, isDirectory } of entries) if (isDirectory) bytes += await occupiedBelow(join(dir, name));
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
      kernelBytes: await occupiedBelow(kernelCacheDir(dir)),
      freeBytes: freeBlocks * blockSize,
      totalBytes: blocks * blockSize,
      outOfInodes: files > 0 && freeFiles === 0,
    };
  } catch (error) {
    throw new NydusGdError("io", `Cannot look at cache "${dir}": ${messageOf(error)}`, { cause: error });
  }
}

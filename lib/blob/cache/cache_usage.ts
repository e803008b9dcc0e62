/**
 * Disk usage of the cache: space occupied by its files, and space left on their file system.
 *
 * The files are sparse, so allocated blocks count (st_blocks, units of 512 bytes), not sizes.
 *
 * @module
 */
import { join } from "node:path";
import { statfs } from "../../../ffi/sys_statfs.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { limitInBytes, type SizeLimit } from "../../base/setting_values.ts";
import { kernelCacheDir } from "./blob_paths.ts";

/** All sizes in bytes. */
export interface CacheUsage {
  readonly dir: string;
  /** Occupied by the files of the folder. */
  readonly usedBytes: number;
  /**
   * Occupied by the kernel's own copies beside them. Copies of an image that is mounted for the first time have no
   * names yet and are not counted.
   */
  readonly kernelBytes: number;
  /** Free space of the file system, without what is reserved for root. */
  readonly freeBytes: number;
  /** Size of the file system. */
  readonly totalBytes: number;
  /** Whether the file system has run out of inodes. */
  readonly outOfInodes: boolean;
}

/** Unit of st_blocks, independent of the file system's block size. */
const STAT_BLOCK_BYTES = 512;

/** Bytes allocated to a file. */
export function occupiedBytes({ blocks }: Pick<Deno.FileInfo, "blocks">): number {
  return (blocks ?? 0) * STAT_BLOCK_BYTES;
}

/**
 * Bytes allocated to the files of a folder.
 *
 * @param deep whether to include all subfolders
 * @throws {Deno.errors.NotFound} if the folder does not exist
 */
async function occupiedIn(dir: string, { deep }: { readonly deep: boolean }): Promise<number> {
  let bytes = 0;
  for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    // entries may vanish during the scan
    if (deep && isDirectory) bytes += await ignore(Deno.errors.NotFound, occupiedIn(path, { deep })) ?? 0;
    const info = isFile ? await ignore(Deno.errors.NotFound, Deno.lstat(path)) : undefined;
    if (info !== undefined) bytes += occupiedBytes(info);
  }
  return bytes;
}

/**
 * Free and total bytes of the file system of `dir`. As in df(1), what is reserved for root is not free: containers that
 * run as other users need free space, too.
 *
 * @throws {SyscallError} if statfs fails
 */
export function fileSystemFill(dir: string): { readonly freeBytes: number; readonly totalBytes: number } {
  const { blockSize, blocks, availableBlocks } = statfs(dir);
  return { freeBytes: availableBlocks * blockSize, totalBytes: blocks * blockSize };
}

/**
 * Whether the file system of `dir` has more free space than `minFree`.
 *
 * @throws {SyscallError} if statfs fails
 */
export function hasRoom(dir: string, minFree: SizeLimit): boolean {
  const { freeBytes, totalBytes } = fileSystemFill(dir);
  return freeBytes > limitInBytes(minFree, totalBytes);
}

/**
 * Measures the folder and its file system.
 *
 * @throws {NydusGdError} "io" if either cannot be read
 */
export async function cacheUsage(dir: string): Promise<CacheUsage> {
  try {
    const { blockSize, blocks, availableBlocks, files, freeFiles } = statfs(dir);
    return {
      dir,
      usedBytes: await occupiedIn(dir, { deep: false }),
      kernelBytes: await ignore(Deno.errors.NotFound, occupiedIn(kernelCacheDir(dir), { deep: true })) ?? 0,
      freeBytes: availableBlocks * blockSize,
      totalBytes: blocks * blockSize,
      outOfInodes: files > 0 && freeFiles === 0,
    };
  } catch (error) {
    throw new NydusGdError("io", `Cannot examine cache "${dir}": ${messageOf(error)}`, { cause: error });
  }
}

/**
 * The open files of one blob in the cache folder: its data, what they claim to hold, and what of it was verified.
 *
 * nydusd refuses a blob whose data file or map has a wrong size; here such a file is set aside as `<name>.set-aside`,
 * and the blob's cache starts empty. A data file that is too small is extended, as nydusd does, but its contents are
 * verified again before use.
 *
 * Source: dragonflyoss/nydus storage/src/cache/filecache/mod.rs.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { ftruncate } from "../../../ffi/unistd.ts";
import { hasCode, ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { Digester } from "../../rafs/bootstrap.ts";
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { DescriptionConflict } from "./blob_names.ts";
import { type BlobPaths, SUFFIX } from "./blob_paths.ts";
import { CacheFile } from "./cache_file.ts";
import type { CacheFolder } from "./cache_folder.ts";
import { ChunkMap } from "./chunk_map.ts";
import { clearHollow, emptyRanges, rangesWithout } from "./lost_content.ts";
import { VerifiedDigests } from "./verified.ts";

const log = logger("blob");

/** What {@link BlobFiles.open} needs to know about the blob. */
export interface BlobFilesSubject {
  readonly id: string;
  /** See {@link BlobNames}. */
  readonly description: string;
  readonly digester: Digester;
  readonly columns: ChunkColumns;
  /** Size of the data file in bytes. */
  readonly dataSize: number;
}

/** The open files of one blob. */
export class BlobFiles implements Disposable {
  #named: Promise<void> | undefined;

  private constructor(
    readonly folder: CacheFolder,
    readonly data: CacheFile,
    /** Size of {@link data} in bytes, unless another program truncated it. */
    readonly dataSize: number,
    readonly map: ChunkMap,
    readonly verified: VerifiedDigests,
    /** One bit per chunk: the state of {@link verified} when it was opened. */
    readonly verifiedBits: Uint8Array<ArrayBuffer>,
  ) {}

  /**
   * Opens data file, chunk map and verified digests, creating what is missing.
   *
   * @throws {DescriptionConflict} if they hold chunks of another table
   * @throws {NydusGdError} "io"
   */
  static async open(folder: CacheFolder, paths: BlobPaths, subject: BlobFilesSubject): Promise<BlobFiles> {
    using stack = new DisposableStack();
    const { id, description, digester, columns, dataSize } = subject;
    const data = stack.use(await openData(folder, paths, dataSize));
    const map = stack.use(await openMap(paths.chunkMap, columns.count));
    const about = { digester, count: columns.count, description };
    const verified = stack.use(
      await VerifiedDigests.open(paths.verified, { ...about, data: data.identity(), changedNs: data.changedNs() }),
    );
    const verifiedBits = verified.matching(columns, dataSize);
    if (verifiedBits === undefined) {
      throw new DescriptionConflict(id, "chunks", "its files belong to an image with different chunks");
    }
    forgetHollow(data, verifiedBits, columns);
    if (verified.isNew) await emptyUnclaimed(data, dataSize, map, columns);
    if (!folder.keeps) { for (const path of [paths.data, paths.chunkMap, paths.verified]) Deno.removeSync(path); }
    stack.move();
    return new BlobFiles(folder, data, dataSize, map, verified, verifiedBits);
  }

  /**
   * Syncs the names of the files to disk. Not done while the blob is opened, because a reader waits for that: a reboot
   * may lose any of the files as long as nothing is claimed about the data.
   *
   * @throws {Error} the disk's error; the next call tries again
   */
  async syncNames(): Promise<void> {
    this.#named ??= this.folder.sync();
    try {
      await this.#named;
    } catch (error) {
      this.#named = undefined;
      throw error;
    }
  }

  /**
   * Marks the blob as used by the mtime of its files, which survives a reboot. The data file's mtime is left alone:
   * changing it would break the seal.
   */
  touch(): void {
    this.map.touch(this.folder.uses.next());
  }

  [Symbol.dispose](): void {
    this.verified[Symbol.dispose]();
    this.map[Symbol.dispose]();
    this.data[Symbol.dispose]();
  }
}

async function openData(folder: CacheFolder, paths: BlobPaths, sizeBytes: number): Promise<CacheFile> {
  for (;;) {
    const file = CacheFile.open(paths.data, folder.throughOwnMount(paths.data));
    try {
      const found = file.sizeBytes;
      if (found > sizeBytes) {
        file[Symbol.dispose]();
        await setAside(paths.data, `it has ${found} bytes, expected ${sizeBytes}`);
        continue;
      }
      if (found < sizeBytes) await extendData(file, paths, sizeBytes);
      return file;
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }
}

/** Gives a file that is new, or was truncated, its size, and removes what is no longer true of it. */
async function extendData(file: CacheFile, paths: BlobPaths, sizeBytes: number): Promise<void> {
  // claims about an empty file are wrong; chunks verified in a truncated one may still be there
  if (file.sizeBytes === 0) await setAside(paths.chunkMap, "its data file is gone");
  await ignore(Deno.errors.NotFound, Deno.remove(paths.verified));
  ftruncate(file.fd, sizeBytes);
}

/**
 * Chunks with holes are read back before use. If another program made them, such as one that frees space, this one has
 * sealed the file all the same until it noticed that (hole_watch.ts, verified.ts).
 */
function forgetHollow(data: CacheFile, verified: Uint8Array<ArrayBuffer>, columns: ChunkColumns): void {
  const chunks = clearHollow(data.fd, verified, columns);
  if (chunks > 0) log.info("cache file has holes, its chunks are verified again", { path: data.path, chunks });
}

/**
 * Empties what a process left that was killed while it wrote, or while it handled a loss: the kernel may have told it,
 * and tells nobody else, that the disk has refused some of that (lost_content.ts).
 */
async function emptyUnclaimed(data: CacheFile, dataSize: number, map: ChunkMap, columns: ChunkColumns): Promise<void> {
  if (fstat(data.fd).blocks === 0) return;
  try {
    await emptyRanges(data.fd, rangesWithout(map.bits, columns, dataSize));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    log.warn("remains of an earlier process not removed from cache file", { path: data.path, error: error.message });
  }
}

async function openMap(path: string, count: number): Promise<ChunkMap> {
  try {
    return ChunkMap.open(path, count);
  } catch (error) {
    if (!hasCode(error, "corrupt")) throw error;
    await setAside(path, error.message);
    return ChunkMap.open(path, count);
  }
}

/** Moves a file out of the way, replacing one that was moved earlier. */
async function setAside(path: string, reason: string): Promise<void> {
  try {
    await Deno.rename(path, path + SUFFIX.setAside);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new NydusGdError("io", `Cannot set "${path}" aside: ${messageOf(error)}`, { cause: error });
  }
  log.warn("cache file set aside", { path, reason });
}

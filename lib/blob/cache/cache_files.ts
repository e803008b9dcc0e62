/**
 * The cache folder and the files of one blob in it. They are named after the blob's id, or as in blob_names.ts.
 *
 * | file | content |
 * |---|---|
 * | `<name>.blob.data` | plain chunks at their uncompressed offsets; sparse, as large as the blob's address space |
 * | `<name>.blob.data.chunk_map` | chunk_map.ts |
 * | `<name>.blob.meta` | the blob's chunk table, v6 only: lib/rafs/cache_layout.ts |
 * | `<name>.blob.meta.doubtful` | a table that led to wrong bytes, kept in case no other is available; not nydusd's |
 * | `<name>.blob.verified` | verified.ts; not nydusd's |
 * | `<name>.blob.copies` | copies_record.ts; not nydusd's |
 * | `.nydus-gd.lock` | held by the one server that uses the folder |
 * | `transient/` | the folder of a cache that keeps nothing: its files are unlinked once open |
 * | `fscache/` | the kernel's own cache with its copies: lib/mount/fscache |
 *
 * Names and contents are those of nydusd, so its cache can be taken over while it is not running. nydusd refuses a blob
 * whose data file or map has a wrong size; here such a file is set aside as `<name>.set-aside` and the blob's cache
 * starts empty. A data file that is too small is extended, as nydusd does, but its contents are verified again before
 * use.
 *
 * Source: dragonflyoss/nydus storage/src/cache/filecache/mod.rs.
 *
 * @module
 */
import { open as openHandle, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { isErrno } from "../../../ffi/errno.ts";
import { AT, O, open } from "../../../ffi/fcntl.ts";
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { OPEN_TREE, openTree } from "../../../ffi/mount_api.ts";
import { ftruncate } from "../../../ffi/unistd.ts";
import { diskHint } from "../../base/disk_full.ts";
import { hasCode, ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { FileLock } from "../../base/file_lock.ts";
import { logger } from "../../base/log.ts";
import { UseTimes } from "../../base/use_times.ts";
import type { Digester } from "../../rafs/bootstrap.ts";
import type { ChunkColumns } from "../../rafs/chunk_table.ts";
import { DescriptionConflict, isBlobName } from "./blob_names.ts";
import { CacheFile } from "./cache_file.ts";
import { ChunkMap } from "./chunk_map.ts";
import { VerifiedDigests } from "./verified.ts";

const log = logger("blob");

const SUFFIX = {
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
  /** A chunk table in doubt: blob_table.ts. */
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

/** Suffix of new files that are written before they replace the old one. */
const ASIDE = ".tmp";

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

/** The latest mtime that tells a use. */
function lastUseMs(dir: string): number {
  const names = Array.from(Deno.readDirSync(dir), ({ name }) => name).filter((name) => blobFileOf(name)?.tellsUse);
  return Math.max(0, ...names.map((name) => Deno.lstatSync(join(dir, name)).mtime?.getTime() ?? 0));
}

/** Folder of a cache that keeps nothing, inside the folder of one that does. */
const TRANSIENT_NAME = "transient";

/** The cache folder, locked for this server until disposed. */
export class CacheFolder implements Disposable {
  /**
   * A private mount of the folder: data files for which the kernel asks this program are read and written through it
   * without triggering events. Undefined if unavailable: not root, or before Linux 5.2.
   */
  readonly ownMount: Fd | undefined;
  /** The mtimes for the files of blobs that are used. */
  readonly uses: UseTimes;

  /** Hint for writes that fail. */
  readonly diskHint: string;

  /** @param keeps whether its contents survive for the next server */
  private constructor(readonly path: string, private readonly lock: FileLock, readonly keeps: boolean, setBy?: string) {
    this.ownMount = cloneMount(path);
    this.uses = new UseTimes(() => lastUseMs(path));
    this.diskHint = diskHint(path, setBy);
  }

  /**
   * Makes the folder where there is none (mode 0700), and locks it.
   *
   * @param setBy what decides where the folder is, for hints: "cache.dir", "TMPDIR"
   * @throws {NydusGdError} "busy" when another server uses it, "io"
   */
  static open(path: string, setBy?: string): CacheFolder {
    return CacheFolder.#openLocked(path, true, setBy);
  }

  /** Opens a folder below `dir` whose files vanish with this server, however it ends. */
  static openTransient(dir: string, setBy?: string): CacheFolder {
    const path = join(dir, TRANSIENT_NAME);
    const folder = CacheFolder.#openLocked(path, false, setBy);
    for (const { name } of Deno.readDirSync(path)) {
      if (name !== LOCK_NAME) Deno.removeSync(join(path, name)); // left by a server that was killed
    }
    return folder;
  }

  static #openLocked(path: string, keeps: boolean, setBy: string | undefined): CacheFolder {
    try {
      Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
      return new CacheFolder(path, FileLock.take(join(path, LOCK_NAME)), keeps, setBy);
    } catch (error) {
      if (isErrno(error, "EAGAIN")) {
        throw new NydusGdError("busy", `Cannot open cache "${path}": another nydus-gd uses it`, {
          hint: `stop the other one${setBy === undefined ? "" : `, or set ${setBy}`}`,
          cause: error,
        });
      }
      throw new NydusGdError("io", `Cannot open cache "${path}": ${messageOf(error)}`, { cause: error });
    }
  }

  /** The path of a file of the folder through {@link ownMount}. */
  throughOwnMount(path: string): string {
    return this.ownMount === undefined ? path : `${procFdPath(this.ownMount)}/${basename(path)}`;
  }

  /** Names of the blobs that have files in the folder. */
  blobNames(): Set<string> {
    return new Set(Array.from(Deno.readDirSync(this.path), ({ name }) => blobFileOf(name)?.name ?? []).flat());
  }

  /** Syncs added and removed names to disk. */
  async sync(): Promise<void> {
    const handle = await openHandle(this.path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /**
   * Creates or replaces a file atomically: a reader, or a reboot, sees the old content, the new content, or no file.
   */
  async replace(path: string, content: Uint8Array): Promise<void> {
    if (!this.keeps) return;
    const aside = path + ASIDE;
    await ignore(Deno.errors.NotFound, Deno.remove(aside));
    const handle = await openHandle(aside, "wx", 0o600); // never through a link
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, path);
    await this.sync();
  }

  /**
   * Removes the files of a blob that nobody has open. The records that vouch for its chunks are removed durably before
   * its data, so a reboot in between finds data without a claim, never a claim without data.
   */
  async removeBlob({ verified, copies, chunkMap, data, meta, doubtfulMeta }: BlobPaths): Promise<void> {
    for (const path of [verified, copies, chunkMap]) await ignore(Deno.errors.NotFound, Deno.remove(path));
    await this.sync();
    for (const path of [data, meta, doubtfulMeta]) await ignore(Deno.errors.NotFound, Deno.remove(path));
  }

  [Symbol.dispose](): void {
    this.ownMount?.[Symbol.dispose]();
    this.lock[Symbol.dispose]();
  }
}

function cloneMount(path: string): Fd | undefined {
  try {
    return openTree(AT.FDCWD, path, OPEN_TREE.CLONE);
  } catch (error) {
    if (isErrno(error, "EPERM", "ENOSYS", "EINVAL")) return undefined;
    throw error;
  }
}

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
      if (found < sizeBytes) {
        // claims about an empty file are wrong; chunks verified in a truncated one may still be there
        if (found === 0) await setAside(paths.chunkMap, "its data file is gone");
        await ignore(Deno.errors.NotFound, Deno.remove(paths.verified));
        ftruncate(file.fd, sizeBytes);
      }
      return file;
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
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

/**
 * The cache folder, locked for one server. Files are replaced and blobs removed in an order in which a reboot at any
 * instant leaves no claim about data that are not there. What is in it: blob_paths.ts.
 *
 * @module
 */
import { basename, join } from "node:path";
import { isErrno } from "../../../ffi/errno.ts";
import { AT } from "../../../ffi/fcntl.ts";
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { OPEN_TREE, openTree } from "../../../ffi/mount_api.ts";
import { diskHint } from "../../base/disk_full.ts";
import { syncFolder } from "../../base/durable.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { FileLock } from "../../base/file_lock.ts";
import { replaceFile } from "../../base/replace_file.ts";
import { UseTimes } from "../../base/use_times.ts";
import { blobFileOf, type BlobPaths, LOCK_NAME } from "./blob_paths.ts";

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
    return CacheFolder.#openLocked(path, setBy, { keeps: true });
  }

  /** Opens a folder below `dir` whose files vanish with this server, however it ends. */
  static openTransient(dir: string, setBy: string | undefined): CacheFolder {
    return CacheFolder.#openLocked(join(dir, TRANSIENT_NAME), setBy, { keeps: false });
  }

  static #openLocked(
    path: string,
    setBy: string | undefined,
    { keeps }: Pick<CacheFolder, "keeps">,
  ): CacheFolder {
    using cleanup = new DisposableStack();
    try {
      Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
      const lock = cleanup.use(FileLock.take(join(path, LOCK_NAME)));
      if (!keeps) removeLeftOvers(path);
      const folder = new CacheFolder(path, lock, keeps, setBy);
      cleanup.move();
      return folder;
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
    await syncFolder(this.path);
  }

  /** Creates or replaces a file as {@link replaceFile} does, unless the folder is transient. */
  async replace(path: string, content: Uint8Array): Promise<void> {
    if (this.keeps) await replaceFile(path, content, "reboot");
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

/** Removes the files of a server that was killed. */
function removeLeftOvers(path: string): void {
  for (const { name } of Deno.readDirSync(path)) {
    if (name !== LOCK_NAME) Deno.removeSync(join(path, name));
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

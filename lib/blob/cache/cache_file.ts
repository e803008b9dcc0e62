/**
 * One file of the cache: a descriptor for reads and writes at offsets, and a second one whose syncs do not block.
 *
 * Both are opened at once and stay. A file that the kernel asks us about (fanotify) is opened through a mount of our own,
 * which it does not ask about.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { fstat, S } from "../../../ffi/sys_stat.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";

/** Which file on disk a {@link CacheFile} is: another file under the same name differs in one of these. */
export interface FileIdentity {
  readonly inode: bigint;
  /** Milliseconds since 1970, 0 where the file system does not keep it. */
  readonly bornMs: bigint;
}

/** A regular file, open for reading and writing. */
export class CacheFile implements Disposable {
  private constructor(readonly path: string, readonly fd: Fd, private readonly syncing: Deno.FsFile) {}

  /**
   * Opens the file, and creates it where there is none. Mode 0600; a symbolic link is refused.
   *
   * @param through another path to it, by which it is opened
   * @throws {NydusGdError} "io"
   */
  static open(path: string, through: string = path): CacheFile {
    const fd = openOwn(path, through);
    try {
      if ((fstat(fd).mode & S.IFMT) !== S.IFREG) {
        throw new NydusGdError("io", `Cannot open cache file "${path}": it is not a regular file`);
      }
      return new CacheFile(path, fd, Deno.openSync(procFdPath(fd), { read: true, write: true }));
    } catch (error) {
      fd[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes. */
  get sizeBytes(): number {
    return fstat(this.fd).size;
  }

  identity(): FileIdentity {
    const { birthtime } = this.syncing.statSync();
    return { inode: BigInt(fstat(this.fd).ino), bornMs: BigInt(birthtime?.getTime() ?? 0) };
  }

  /**
   * When the file was last changed (ctime), nanoseconds since 1970. Whatever is written to it by anybody changes this,
   * and no program can set it back; so do some things that leave the data as they are, like a rename.
   */
  changedNs(): bigint {
    const { ctimeSec, ctimeNsec } = fstat(this.fd);
    return BigInt(ctimeSec) * 1_000_000_000n + BigInt(ctimeNsec);
  }

  /** Its time of change (mtime) becomes now; on disk when the file system writes it. */
  touch(): void {
    const now = new Date();
    this.syncing.utimeSync(now, now);
  }

  /** Data, and the metadata needed to read them back, reach the disk. Runs on another thread. */
  syncData(): Promise<void> {
    return this.syncing.syncData();
  }

  [Symbol.dispose](): void {
    if (this.fd.closed) return;
    this.syncing.close();
    this.fd[Symbol.dispose]();
  }
}

function openOwn(path: string, through: string): Fd {
  try {
    return open(through, O.RDWR | O.CREAT | O.NOFOLLOW | O.NONBLOCK, 0o600);
  } catch (error) {
    const state = isErrno(error, "ELOOP") ? "it is a symbolic link" : messageOf(error);
    throw new NydusGdError("io", `Cannot open cache file "${path}": ${state}`, { cause: error });
  }
}

/**
 * One file of the cache: a descriptor for reads and writes at offsets, and a second one whose syncs do not block.
 *
 * Both descriptors are opened together and stay open. A file for which the kernel asks this process (fanotify) is
 * opened through a private mount that is not watched.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { fstat, S } from "../../../ffi/sys_stat.ts";
import { describeWriteError } from "../../base/disk_full.ts";
import { NydusGdError } from "../../base/errors.ts";

/** Identity of the file behind a {@link CacheFile}: another file under the same name differs in at least one field. */
export interface FileIdentity {
  readonly inode: bigint;
  /** Birth time, milliseconds since 1970; 0 if the file system does not record it. */
  readonly bornMs: bigint;
}

/** A regular file, open for reading and writing. */
export class CacheFile implements Disposable {
  private constructor(readonly path: string, readonly fd: Fd, private readonly syncing: Deno.FsFile) {}

  /**
   * Opens the file, creating it if needed with mode 0600. Symbolic links are refused.
   *
   * @param through alternative path by which to open the file
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
   * Time of the last change (ctime), nanoseconds since 1970. Every write by any process changes it, and no program can
   * set it back. Some operations that leave the data alone, such as rename, change it too.
   */
  changedNs(): bigint {
    const { ctimeSec, ctimeNsec } = fstat(this.fd);
    return BigInt(ctimeSec) * 1_000_000_000n + BigInt(ctimeNsec);
  }

  /** Sets its mtime; persisted when the file system writes it. */
  touch(time: Date): void {
    this.syncing.utimeSync(time, time);
  }

  /** Syncs the data, and the metadata needed to read it back, to disk. Runs on another thread. */
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
    const state = isErrno(error, "ELOOP") ? "it is a symbolic link" : describeWriteError(error, path);
    throw new NydusGdError("io", `Cannot open cache file "${path}": ${state}`, { cause: error });
  }
}

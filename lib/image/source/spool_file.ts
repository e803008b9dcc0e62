/**
 * A file for bytes on their way, which nobody else has.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { writeAll, writeAllOffThread } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";

/** See the module. Disposing closes it; the file stays. */
export class SpoolFile implements Disposable {
  private constructor(readonly path: string, private readonly file: Fd, private readonly work: string) {}

  /**
   * Makes the file; there may be none of its name.
   *
   * @param work for messages, what the bytes are for: "convert layer sha256:…"
   * @throws {SyscallError}
   */
  static create(path: string, work: string): SpoolFile {
    return new SpoolFile(path, open(path, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600), work);
  }

  /**
   * Appends to it.
   *
   * @throws {NydusGdError} "io" where the disk is full; {SyscallError}
   */
  write(bytes: Uint8Array): void {
    try {
      writeAll(this.file, bytes);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** As {@link write}, while this thread does something else; one after the other. The bytes must stay as they are. */
  async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await writeAllOffThread(this.file, bytes);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Appends all pieces. */
  async writeEach(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const piece of pieces) this.write(piece);
  }

  #failure(error: unknown): unknown {
    if (!isErrno(error, "ENOSPC", "EDQUOT")) return error;
    return new NydusGdError("io", `Cannot ${this.work}: the disk of ${this.path} is full`, {
      hint: "free some space there, or name another folder: --work-dir",
      cause: error,
    });
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }
}

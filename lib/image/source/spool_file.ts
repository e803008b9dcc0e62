/**
 * A temporary file for data in transit.
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { writeAll, writeAllOffThread } from "../../../ffi/unistd.ts";
import { writeFailure } from "../../base/disk_full.ts";

/** An exclusively created file. Disposing closes it but does not remove it. */
export class SpoolFile implements Disposable {
  private constructor(readonly path: string, private readonly file: Fd, private readonly work: string) {}

  /**
   * Creates the file, which must not exist.
   *
   * @param work what the data is for, in messages: "convert layer sha256:…"
   * @throws {NydusGdError} "io"
   */
  static create(path: string, work: string): SpoolFile {
    try {
      return new SpoolFile(path, open(path, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600), work);
    } catch (error) {
      throw writeFailure(error, work, path);
    }
  }

  /**
   * Appends bytes.
   *
   * @throws {NydusGdError} "io"
   */
  write(bytes: Uint8Array): void {
    try {
      writeAll(this.file, bytes);
    } catch (error) {
      throw writeFailure(error, this.work, this.path);
    }
  }

  /** Like {@link write}, off the main thread. One call at a time; the bytes must not change meanwhile. */
  async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await writeAllOffThread(this.file, bytes);
    } catch (error) {
      throw writeFailure(error, this.work, this.path);
    }
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }
}

/**
 * A file for bytes on their way, which nobody else has.
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { writeAll, writeAllOffThread } from "../../../ffi/unistd.ts";
import { writeFailure } from "../../base/disk_full.ts";

/** See the module. Disposing closes it; the file stays. */
export class SpoolFile implements Disposable {
  private constructor(readonly path: string, private readonly file: Fd, private readonly work: string) {}

  /**
   * Makes the file; there may be none of its name.
   *
   * @param work for messages, what the bytes are for: "convert layer sha256:…"
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
   * Appends to it.
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

  /** As {@link write}, while this thread does something else; one after the other. The bytes must stay as they are. */
  async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await writeAllOffThread(this.file, bytes);
    } catch (error) {
      throw writeFailure(error, this.work, this.path);
    }
  }

  /** Appends all pieces. */
  async writeEach(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const piece of pieces) this.write(piece);
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }
}

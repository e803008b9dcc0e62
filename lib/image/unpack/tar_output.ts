/**
 * Destinations of a tar: a file, which gets its name only when complete, or a stream.
 *
 * @module
 */
import { rename } from "node:fs/promises";
import { dirname } from "node:path";
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import { AT, O, open } from "../../../ffi/fcntl.ts";
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { fsync, linkat, unlinkat, writeAll } from "../../../ffi/unistd.ts";
import { writeFailure } from "../../base/disk_full.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { TarOutput } from "./tar_sink.ts";

/** Size of the buffer for small writes. */
const GATHERED_BYTES = 1 << 20;

/** Of a new file, less the umask. */
const MODE = 0o644;

/** Buffers small writes. */
class Gathered {
  readonly #buffer = new Uint8Array(GATHERED_BYTES);
  #filled = 0;

  constructor(private readonly put: (bytes: Uint8Array) => void | Promise<void>) {}

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#filled + bytes.length > GATHERED_BYTES) await this.flush();
    if (bytes.length >= GATHERED_BYTES) return await this.put(bytes);
    this.#buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  async flush(): Promise<void> {
    if (this.#filled > 0) await this.put(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }
}

/** A file that appears at its path only when complete. */
export class TarFile implements TarOutput {
  readonly #gathered = new Gathered((bytes) => writeAll(this.file, bytes));
  #named = false;

  /** @param aside its name until it is complete; undefined: it has none, and goes with a process that is killed */
  private constructor(
    private readonly path: string,
    private readonly aside: string | undefined,
    private readonly file: Fd,
  ) {}

  /** @throws {NydusGdError} "exists" if `path` exists; "not-found" if its folder does not; "usage" if empty; "io" */
  static async create(path: string): Promise<TarFile> {
    if (path === "") throw new NydusGdError("usage", "Cannot write tar:: the file is missing", { hint: "tar:FILE" });
    const there = await ignore(Deno.errors.NotFound, Deno.lstat(path));
    if (there !== undefined) throw exists(path, there.isFile ? `rm ${path}` : "name a new file");
    try {
      return new TarFile(path, undefined, open(dirname(path), O.WRONLY | O.TMPFILE, MODE));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // not every file system has files without a name; what else is wrong shows again
    }
    const aside = `${path}.${crypto.randomUUID().slice(0, 8)}.partial`;
    try {
      return new TarFile(path, aside, open(aside, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, MODE));
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw writeFailure(error, `write ${path}`, path);
      throw new NydusGdError("not-found", `Cannot write ${path}: its parent folder does not exist`, {
        hint: `mkdir -p ${dirname(path)}`,
        cause: error,
      });
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#told(this.#gathered.write(bytes));
  }

  async finish(): Promise<void> {
    await this.#told(this.#gathered.flush().then(() => fsync(this.file)));
    try {
      await this.#name();
    } catch (error) {
      if (isErrno(error, "EEXIST")) throw exists(this.path, `rm ${this.path}`);
      throw writeFailure(error, `write ${this.path}`, this.path);
    }
    this.#named = true;
    this.file[Symbol.dispose]();
  }

  async discard(): Promise<void> {
    this.file[Symbol.dispose]();
    const name = this.#named ? this.path : this.aside;
    if (name !== undefined) await ignore(Deno.errors.NotFound, Deno.remove(name));
  }

  async #name(): Promise<void> {
    if (this.aside === undefined) {
      return linkat(AT.FDCWD, procFdPath(this.file), AT.FDCWD, this.path, AT.SYMLINK_FOLLOW);
    }
    try {
      linkat(AT.FDCWD, this.aside, AT.FDCWD, this.path);
      unlinkat(AT.FDCWD, this.aside);
    } catch (error) {
      if (!isErrno(error, "EPERM", "EOPNOTSUPP", "EMLINK")) throw error;
      await rename(this.aside, this.path); // the file system has no hard links
    }
  }

  async #told(written: Promise<void>): Promise<void> {
    try {
      await written;
    } catch (error) {
      throw writeFailure(error, `write ${this.path}`, this.path);
    }
  }
}

/** A stream, such as standard output. Discarding cannot undo what was written. */
export class TarStream implements TarOutput {
  readonly #gathered: Gathered;

  constructor(stream: { write(bytes: Uint8Array): Promise<number> }) {
    this.#gathered = new Gathered(async (bytes) => {
      try {
        for (let written = 0; written < bytes.length;) written += await stream.write(bytes.subarray(written));
      } catch (error) {
        throw writeFailure(error, "write tar", "standard output");
      }
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#gathered.write(bytes);
  }

  async finish(): Promise<void> {
    await this.#gathered.flush();
  }

  async discard(): Promise<void> {}
}

function exists(path: string, hint: string): NydusGdError {
  return new NydusGdError("exists", `Cannot write ${path}: it already exists`, { hint });
}

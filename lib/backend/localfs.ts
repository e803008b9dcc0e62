/**
 * The backend `localfs`: blobs in local folders, each in a file named by its ID, or one file for every ID.
 *
 * ```
 * blob_file, if configured          every id
 * dir/<id>, if it is not empty      else the first alt_dirs/<id> that is not empty
 * ```
 * Each read looks the file up again, so a blob that appears later is found, and no descriptor stays open. Unlike in
 * nydusd, a read past the end of the file is an error: callers request only bytes that their chunk table promises.
 *
 * @module
 */
import { join } from "node:path";
import { throwIfAborted } from "../base/abort.ts";
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import type { LocalFsConfig } from "./backend_config.ts";
import { checkBlobName } from "./blob_id.ts";
import type { Backend, BlobSource, ReadOptions } from "./blob_source.ts";
import { readAt } from "./read_at.ts";

/** The folders of one `localfs` backend. */
export class LocalFsBackend implements Backend {
  readonly description: string;
  readonly #blobFile: string | undefined;
  readonly #folders: readonly string[];

  constructor(config: Pick<LocalFsConfig, "blobFile" | "dir" | "altDirs">) {
    this.#blobFile = config.blobFile;
    this.#folders = config.dir === undefined ? config.altDirs : [config.dir, ...config.altDirs];
    if (this.#blobFile === undefined && this.#folders.length === 0) {
      throw new NydusGdError("config", "Cannot open backend localfs: it has neither dir nor blob_file");
    }
    this.description = `localfs ${this.#blobFile ?? this.#folders[0]}`;
  }

  /** The blobs in one folder. */
  static inFolder(dir: string): LocalFsBackend {
    return new LocalFsBackend({ blobFile: undefined, dir, altDirs: [] });
  }

  /** @throws {NydusGdError} "invalid-image" if the ID is not a file name */
  blob(id: string): BlobSource {
    const candidates = this.#blobFile === undefined
      ? this.#folders.map((folder) => join(folder, checkBlobName(id)))
      : [this.#blobFile];
    return new LocalBlob(`${this.description}, blob ${id}`, candidates);
  }
}

class LocalBlob implements BlobSource {
  constructor(readonly description: string, private readonly candidates: readonly string[]) {}

  async read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array<ArrayBuffer>> {
    throwIfAborted(options.signal);
    const { path, size } = await this.#find();
    const endsAt = (end: number) =>
      new NydusGdError("io", `Cannot read ${length} bytes at ${offset} of ${path}: it ends at ${end}`);
    if (offset + length > size) throw endsAt(size);
    try {
      using file = await Deno.open(path);
      const bytes = await readAt(file, offset, length, options.signal);
      if (bytes.length < length) throw endsAt(offset + bytes.length);
      return bytes;
    } catch (error) {
      throw this.#translate(error, path);
    }
  }

  async size(signal?: AbortSignal): Promise<number> {
    throwIfAborted(signal);
    return (await this.#find()).size;
  }

  async #find(): Promise<{ path: string; size: number }> {
    for (const path of this.candidates) {
      try {
        const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
        if (info?.isFile && info.size > 0) return { path, size: info.size };
      } catch (error) {
        throw this.#translate(error, path);
      }
    }
    throw new NydusGdError("not-found", `Cannot find blob: no file with data at ${this.candidates.join(" or ")}`);
  }

  #translate(error: unknown, path: string): unknown {
    if (error instanceof NydusGdError) return error;
    if (error instanceof Deno.errors.NotFound) {
      return new NydusGdError("not-found", `Cannot find blob: ${path} is gone`, { cause: error });
    }
    return new NydusGdError("io", `Cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

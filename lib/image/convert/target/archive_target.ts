/**
 * An archive of an OCI layout as the target of a conversion.
 *
 * The layout is built in a folder beside the file, so that the next conversion can reuse what an interrupted one
 * stored. It is packed last: the file appears complete, and contains only what this conversion stored or found. A lock
 * on the folder excludes other conversions. Entries are sorted by name and carry no timestamps.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { rename } from "node:fs/promises";
import { isErrno } from "../../../../ffi/errno.ts";
import { tarEntry, type TarType } from "../../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../../archive/tar_writer.ts";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import type { FileLock } from "../../../base/file_lock.ts";
import { isStillAt, tryLockFolder } from "../../../base/folder_lock.ts";
import { streamFile } from "../../source/file_stream.ts";
import type { ImageBlob } from "../../build/image_builder.ts";
import { TarFile } from "../../unpack/tar_output.ts";
import type { Put } from "./image_target.ts";
import { LayoutTarget } from "./layout_target.ts";

const FOLDER_SUFFIX = ".partial";
const TAG = "latest";

/** Writes a converted image to an archive file. */
export class ArchiveTarget extends LayoutTarget {
  /** Digests of the parts of the image. */
  readonly #parts = new Set<string>();
  /** Lock on the folder. */
  #lock: FileLock | undefined;

  private constructor(private readonly path: string) {
    super(path + FOLDER_SUFFIX, TAG);
  }

  /**
   * Creates the folder.
   *
   * @param text the file's path
   * @throws {NydusGdError} "exists" if a foreign folder is in its place; "busy" while another conversion uses it
   */
  static override async open(text: string): Promise<ArchiveTarget> {
    const target = new ArchiveTarget(resolve(text));
    await target.requireOwn();
    await Deno.mkdir(target.dir, { recursive: true });
    target.#lock = requireLock(target.dir, target.description);
    try {
      await target.prepare();
      // an index of an earlier conversion does not belong to this one
      await ignore(Deno.errors.NotFound, Deno.remove(join(target.dir, "index.json")));
    } catch (error) {
      await target.#remove();
      throw error;
    }
    return target;
  }

  override get description(): string {
    return `tar:${this.path}`;
  }

  override async has(blob: Put): Promise<boolean> {
    const isThere = await super.has(blob);
    if (isThere) this.#parts.add(blob.digest);
    return isThere;
  }

  override async putFile(blob: Put, path: string): Promise<void> {
    await super.putFile(blob, path);
    this.#parts.add(blob.digest);
  }

  override async putBytes(blob: ImageBlob): Promise<void> {
    await super.putBytes(blob);
    this.#parts.add(blob.digest);
  }

  override async publish(manifests: readonly ImageBlob[], root: ImageBlob, signal: AbortSignal): Promise<void> {
    await super.publish(manifests, root, signal);
    const part = join(this.dir, "archive.part");
    await ignore(Deno.errors.NotFound, Deno.remove(part)); // left by an interrupted conversion
    await this.#pack(await TarFile.create(part), signal);
    await rename(part, this.path);
    await this.#remove();
  }

  override async discard(isInterrupted = false): Promise<void> {
    if (!isInterrupted || this.#parts.size === 0) return await this.#remove();
    using _lock = this.#lock;
    this.#lock = undefined;
    await super.discard();
  }

  async #remove(): Promise<void> {
    using lock = this.#lock;
    this.#lock = undefined;
    if (lock !== undefined) await Deno.remove(this.dir, { recursive: true });
  }

  async #pack(tar: TarFile, signal: AbortSignal): Promise<void> {
    const blobs = [...this.#parts].map((digest) => `blobs/${digest.replace(":", "/")}`).sort();
    try {
      for (const folder of ["blobs", "blobs/sha256"]) await tar.write(header({ type: "directory", name: folder }));
      for (const name of [...blobs, "index.json", "oci-layout"]) {
        const path = join(this.dir, name);
        const { size: sizeBytes } = await Deno.stat(path);
        await tar.write(header({ type: "file", name, sizeBytes }));
        for await (const piece of streamFile(path, signal)) await tar.write(piece);
        await tar.write(tarPadding(sizeBytes));
      }
      await tar.write(TAR_END);
      await tar.finish();
    } catch (error) {
      await tar.discard();
      throw error;
    }
  }
}

/**
 * Takes an exclusive lock on a folder.
 *
 * @throws {NydusGdError} "busy"
 */
function requireLock(folder: string, what: string): FileLock {
  let lock: FileLock | undefined;
  try {
    lock = tryLockFolder(folder);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // removed by the other conversion
  }
  // the other conversion may also have removed the folder before it was locked here
  if (lock !== undefined && isStillAt(folder, lock)) return lock;
  lock?.[Symbol.dispose]();
  throw new NydusGdError("busy", `Cannot write ${what}: another conversion writes it`);
}

function header({ name, ...fields }: { type: TarType; name: string; sizeBytes?: number }): Uint8Array {
  return encodeTarHeader(tarEntry({ ...fields, name: new TextEncoder().encode(name) }));
}

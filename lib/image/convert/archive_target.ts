/**
 * An archive of an OCI layout as the target of a conversion.
 *
 * The layout grows in a folder beside the file, where an interrupted conversion finds its blobs again; it is packed last,
 * and the file appears whole. Entries stand in the order of their names and say nothing of when they were made.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { rename } from "node:fs/promises";
import { tarEntry, type TarType } from "../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import { ignore } from "../../base/errors.ts";
import { streamFile } from "../source/file_stream.ts";
import type { ImageBlob } from "../image_builder.ts";
import { TarFile } from "../unpack/tar_output.ts";
import { LayoutTarget } from "./layout_target.ts";

const FOLDER_SUFFIX = ".partial";
const TAG = "latest";

/** See the module. */
export class ArchiveTarget extends LayoutTarget {
  private constructor(private readonly path: string) {
    super(path + FOLDER_SUFFIX, TAG);
  }

  /**
   * Makes the folder.
   *
   * @param text the file's path
   * @throws {NydusGdError} "exists" for a folder of something else in its place
   */
  static override async open(text: string): Promise<ArchiveTarget> {
    const target = new ArchiveTarget(resolve(text));
    await target.prepare();
    return target;
  }

  override get description(): string {
    return `tar:${this.path}`;
  }

  override async publish(manifests: readonly ImageBlob[], root: ImageBlob, signal: AbortSignal): Promise<void> {
    await super.publish(manifests, root, signal);
    const part = join(this.dir, "archive.part");
    await ignore(Deno.errors.NotFound, Deno.remove(part)); // of one that was interrupted
    await this.#pack(await TarFile.create(part), signal);
    await rename(part, this.path);
    await Deno.remove(this.dir, { recursive: true });
  }

  async #pack(tar: TarFile, signal: AbortSignal): Promise<void> {
    const names = Array.from(Deno.readDirSync(join(this.dir, "blobs/sha256")), ({ name }) => name).sort();
    const blobs = names.map((name) => `blobs/sha256/${name}`);
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

function header({ name, ...fields }: { type: TarType; name: string; sizeBytes?: number }): Uint8Array {
  return encodeTarHeader(tarEntry({ ...fields, name: new TextEncoder().encode(name) }));
}

/**
 * Access to the files of an OCI layout, in a folder or in an archive.
 *
 * @module
 */
import { join } from "node:path";
import type { Backend } from "../../backend/blob_source.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { ArchiveFile } from "./archive_file.ts";

/** The files of an OCI layout. */
export interface LayoutFiles {
  /** As a user names it in messages: "oci:DIR", "tar:FILE". */
  readonly description: string;
  /** The contents of `blobs/sha256`, by name. */
  readonly blobs: Backend;
  /**
   * Reads a whole file.
   *
   * @param name "index.json", "blobs/sha256/…"
   * @throws {NydusGdError} "not-found", "invalid-image" if it is longer than `maxBytes`
   */
  read(name: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>>;
}

const BLOBS = "blobs/sha256";

/** Opens a layout in a folder. */
export function folderFiles(dir: string): LayoutFiles {
  const description = `oci:${dir}`;
  return {
    description,
    blobs: LocalFsBackend.inFolder(join(dir, BLOBS)),
    async read(name, maxBytes) {
      const path = join(dir, name);
      const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
      const refuse = (code: "not-found" | "invalid-image", state: string) =>
        new NydusGdError(code, `Cannot read image ${description}: ${state}`);
      if (!info?.isFile) throw refuse("not-found", `there is no file ${path}`);
      if (info.size > maxBytes) {
        throw refuse("invalid-image", `${path} has ${info.size} bytes, expected ${maxBytes} at most`);
      }
      return await Deno.readFile(path);
    },
  };
}

/** Opens a layout in an archive, as written by `skopeo copy … oci-archive:` and newer `docker save`. */
export function archiveFiles(archive: ArchiveFile): LayoutFiles {
  return {
    description: `tar:${archive.path}`,
    blobs: {
      description: `archive ${archive.path}`,
      blob: (id) => archive.source(`${BLOBS}/${id}`),
    },
    read: (name, maxBytes) => archive.read(name, maxBytes),
  };
}

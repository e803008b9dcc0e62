/**
 * Opens image archives as written by `docker save`, `podman save` and `skopeo copy … oci-archive:`.
 *
 * `tar:FILE` may be an image archive or a whole file system; the names in it decide. A compressed archive is first
 * decompressed to a file, since its manifest comes last.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { TarError } from "../../archive/tar.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import { ArchiveFile } from "./archive_file.ts";
import { ImageArchiveNames, isOfImages, SAVED_IMAGES } from "./archive_names.ts";
import { layerCompression } from "./bootstrap_layer_reader.ts";
import { refuseForeignCompression, tarOfLayer } from "./layer_tar.ts";
import { streamFile } from "./file_stream.ts";
import { OciLayout } from "./oci_layout.ts";
import { SpoolFile } from "./spool_file.ts";

const PREFIX = "tar:";

/** For pipes and standard input. */
const SAVE_HINT = "save the archive to a file first: it is read more than once";

/** An image archive, and the name of an image in it. */
export interface ImageArchive {
  readonly archive: ArchiveFile;
  /** Undefined: the only image. */
  readonly name: string | undefined;
}

/** Whether `text` names an archive, of images or of files: `tar:FILE` or `tar:FILE:NAME`. */
export function isArchiveNamed(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Returns the FILE of `tar:FILE`, which names no image in it. */
export function archivePath(text: string): string {
  return text.slice(PREFIX.length);
}

/**
 * Opens an image archive; undefined for an archive of something else.
 *
 * @param text `tar:FILE[:NAME]`
 * @param folder for the decompressed archive, which is not removed
 * @throws {NydusGdError} "not-found", "usage" for a NAME in a tar of files; as TarError for a damaged archive
 */
export async function openImageArchive(
  text: string,
  folder: string,
  signal: AbortSignal,
): Promise<ImageArchive | undefined> {
  const { path, name } = await locateArchive(text);
  const archive = await readNames(path, folder, signal);
  if (archive !== undefined && (archive.has(SAVED_IMAGES) || OciLayout.ofArchive(archive, name) !== undefined)) {
    return { archive, name };
  }
  if (name === undefined) return undefined;
  throw new NydusGdError("usage", `Cannot read ${text}: ${path} is not an image archive`, { hint: `tar:${path}` });
}

/** Splits `tar:FILE[:NAME]` at the longest FILE that exists. @throws {NydusGdError} "not-found" */
async function locateArchive(text: string): Promise<{ path: string; name: string | undefined }> {
  const words = archivePath(text);
  const ends = [words.length, ...[...words.matchAll(/:/g)].map(({ index }) => index).reverse()];
  for (const end of ends) {
    const path = resolve(words.slice(0, end));
    const info = end === 0
      ? undefined
      : await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
    if (info?.isFile) return { path, name: end === words.length ? undefined : words.slice(end + 1) };
    if (info?.isDirectory && end === words.length) {
      throw new NydusGdError("usage", `Cannot read ${text}: it is not a file`, { hint: `dir:${path} for a folder` });
    }
    if (info !== undefined && end === words.length) {
      throw new NydusGdError("usage", `Cannot read ${text}: it is not a file`, { hint: SAVE_HINT });
    }
  }
  if (words === "-") throw new NydusGdError("usage", `Cannot read ${text}: it is not a file`, { hint: SAVE_HINT });
  throw new NydusGdError("not-found", `Cannot read ${text}: there is no such file`);
}

/** Returns undefined if the file is not an image archive. */
async function readNames(path: string, folder: string, signal: AbortSignal): Promise<ArchiveFile | undefined> {
  try {
    const plain = await plainArchive(path, folder, signal);
    return plain === undefined ? undefined : await ArchiveFile.openIf(plain, isOfImages, signal);
  } catch (error) {
    if (!(error instanceof TarError) || error.message.includes(path)) throw error;
    const message = `Cannot read archive ${path}: ${error.message.replace(/^C/, "c")}`;
    throw new TarError(message, undefined, { cause: error });
  }
}

/** Returns the file itself, or its decompressed copy; undefined if that is not an image archive. */
async function plainArchive(path: string, folder: string, signal: AbortSignal): Promise<string | undefined> {
  const pieces = streamFile(path, signal);
  const first = await pieces.next();
  await pieces.return(undefined);
  if (first.done) return path;
  refuseForeignCompression(first.value, `read archive ${path}`);
  if (layerCompression(first.value) === "none") return path;
  const plain = join(folder, `${crypto.randomUUID()}.tar`);
  const names = new ImageArchiveNames();
  const reader = new TarReader(names);
  const expected = { what: `archive ${path}`, doing: "convert", digest: undefined, diffId: undefined } as const;
  {
    using file = SpoolFile.create(plain, `decompress archive ${path}`);
    for await (const piece of tarOfLayer(streamFile(path, signal), expected)) {
      try {
        reader.push(piece);
      } catch (error) {
        if (!names.isOfFiles) throw error; // otherwise the error lies beyond the deciding name
      }
      if (names.isOfFiles) break;
      file.write(piece);
    }
  }
  if (!names.isOfFiles) return plain;
  await Deno.remove(plain);
  return undefined;
}

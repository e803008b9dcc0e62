/**
 * Image files whose devices are named for the kernel's cache. Runs in the calling thread; making one belongs in the
 * Worker.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { replaceFileSync } from "../../base/replace_file.ts";
import { deviceNamesIn, nameDevices } from "../../rafs/erofs/device_names.ts";
import { imageIn, sha256 } from "../../rafs/erofs/erofs_image_file.ts";

/**
 * Writes the image kept at `kept` (kept_image.ts) to `path`, with devices of these names.
 *
 * @param names in the order of the image
 * @returns its SHA-256, hexadecimal
 * @throws {NydusGdError} "io"
 */
export async function makeCachedImage(kept: string, path: string, names: readonly string[]): Promise<string> {
  try {
    const image = imageIn(Deno.readFileSync(kept));
    nameDevices(image, names);
    replaceFileSync(path, [image]);
    return (await sha256(image)).toHex();
  } catch (error) {
    throw new NydusGdError("io", `Cannot write EROFS image ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Reads what {@link makeCachedImage} has written; undefined if there is none. @throws {Error} I/O errors */
export async function readCachedImage(
  path: string,
): Promise<{ readonly names: readonly string[]; readonly digest: string } | undefined> {
  const image = await ignore(Deno.errors.NotFound, Deno.readFile(path));
  return image && { names: deviceNamesIn(image), digest: (await sha256(image)).toHex() };
}

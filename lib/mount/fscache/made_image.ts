/**
 * Making images for the kernel's cache, in the calling thread: for the Worker.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../../base/errors.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import { makeErofsImage } from "../../rafs/erofs_image.ts";
import { digestOf } from "../../rafs/erofs_image_file.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { type CopiedBlob, deviceTag } from "./device_tag.ts";

/**
 * Writes the image of `bootstrap`, whose devices are named by deviceTag, to `path`.
 *
 * @param blobs by blob index
 * @returns its devices, and its SHA-256, hexadecimal
 * @throws {RafsError} as {@link makeErofsImage}; {NydusGdError} "io"
 */
export function makeCachedImage(
  bootstrap: Uint8Array,
  path: string,
  blobs: readonly CopiedBlob[],
): { readonly devices: readonly DeviceTable[]; readonly digest: string } {
  const nameOf = (device: DeviceTable) => deviceTag(blobs[device.blobIndex] ?? { id: "" }, device);
  const { bytes, devices } = makeErofsImage(openBootstrap(bootstrap), nameOf);
  try {
    Deno.writeFileSync(path, bytes, { mode: 0o600 });
  } catch (error) {
    throw new NydusGdError("io", `Cannot write EROFS image ${path}: ${messageOf(error)}`, { cause: error });
  }
  return { devices, digest: digestOf(bytes).toHex() };
}

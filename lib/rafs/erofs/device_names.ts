/**
 * Names of the devices of an EROFS image made by erofs_image.ts. The kernel requests devices from its cache by these
 * names.
 *
 * @module
 */
import { EROFS_SUPER_OFFSET } from "../format/detect.ts";
import { DEVICE, SUPER } from "../v6/layout.ts";
import { unwritable } from "../v6/tree_table.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();

/**
 * Writes device names into the image.
 *
 * @param names one per device, in the order of the image; 1 to 64 bytes each, without NUL
 * @throws {RafsError} "unsupported" for other names or a different number of them
 */
export function nameDevices(image: Uint8Array, names: readonly string[]): void {
  const tags = tagsOf(image);
  if (tags.length !== names.length) {
    unwritable("device table", `it has ${tags.length} devices for ${names.length} names`);
  }
  names.forEach((name, index) => {
    const tag = tags[index] as Uint8Array;
    const bytes = encoder.encode(name);
    if (bytes.length === 0 || bytes.length > tag.length || bytes.includes(0)) {
      unwritable("device", `name ${JSON.stringify(name)} has ${bytes.length} bytes`);
    }
    tag.fill(0);
    tag.set(bytes);
  });
}

/** Returns the device names in the order of the image. */
export function deviceNamesIn(image: Uint8Array): string[] {
  return tagsOf(image).map((tag) => decoder.decode(tag).replace(/\0+$/, ""));
}

function tagsOf(image: Uint8Array): Uint8Array[] {
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const count = view.getUint16(EROFS_SUPER_OFFSET + SUPER.extraDevices, true);
  return Array.from({ length: count }, (_, index) => {
    const at = DEVICE.AT + index * DEVICE.SIZE + DEVICE.tag;
    return image.subarray(at, at + DEVICE.TAG_SIZE);
  });
}

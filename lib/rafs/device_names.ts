/**
 * What the devices of an EROFS image of ours (erofs_image.ts) are called: the kernel asks its cache for them by these
 * names.
 *
 * @module
 */
import { EROFS_SUPER_OFFSET } from "./detect.ts";
import { DEVICE, SUPER } from "./v6/layout.ts";
import { unwritable } from "./v6/tree_table.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();

/**
 * Names them, in the image itself.
 *
 * @param names in the order of the image, of 1 to 64 bytes without NUL
 * @throws {RafsError} "unsupported" for others, or another number of them
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

/** The names, in the order of the image. */
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

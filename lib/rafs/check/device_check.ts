/**
 * Checks the device table of RAFS v6, used by the kernel's EROFS, against the blob table, used by every other reader.
 *
 * @module
 */
import type { BlobDescriptor } from "../bootstrap.ts";
import { EROFS_SUPER_OFFSET } from "../format/detect.ts";
import { viewOf } from "../format/guard.ts";
import { DEVICE, SUPER } from "../v6/layout.ts";
import type { Findings } from "./findings.ts";

/**
 * Compares each device slot with its blob. The bootstrap has passed its reader, so the table lies inside it.
 *
 * @param bytes the whole bootstrap
 */
export function checkDevices(bytes: Uint8Array, blobs: readonly BlobDescriptor[], findings: Findings): void {
  const view = viewOf(bytes);
  const blockBytes = 2 ** view.getUint8(EROFS_SUPER_OFFSET + SUPER.blockBits);
  for (const { index, id, uncompressedSize } of blobs) {
    const at = DEVICE.AT + index * DEVICE.SIZE;
    const wrong = (state: string) => findings.add("structure", "bootstrap", `device slot ${index}: ${state}`);
    const tag = bytes.subarray(at + DEVICE.tag, at + DEVICE.tag + DEVICE.TAG_SIZE);
    const end = tag.indexOf(0);
    const name = String.fromCharCode(...(end < 0 ? tag : tag.subarray(0, end)));
    if (name !== id) wrong(`it names ${JSON.stringify(name)}, the blob table ${id}`);
    const blocks = view.getUint32(at + DEVICE.blocks, true);
    const expected = Math.max(1, Math.floor(uncompressedSize / blockBytes));
    if (blocks !== expected) wrong(`it has ${blocks} blocks, the blob ${expected}`);
  }
}

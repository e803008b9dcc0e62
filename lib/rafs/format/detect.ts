/**
 * Distinguishes RAFS v5 and v6 by their magic numbers.
 *
 * v5 begins with 0x52414653 ("SFAR" on disk) and version 0x500. v6 is an EROFS image, whose super block at 1024 begins
 * with 0xe0f5e1e2. v5 is tried first, as in nydusd. Source: dragonflyoss/nydus rafs/src/metadata/layout.
 *
 * @module
 */
import { hex32, unreadable } from "./guard.ts";

/** First word of a v5 image. */
export const V5_MAGIC = 0x52414653;
/** Second word of a v5 image. */
export const V5_VERSION = 0x500;
/** First word of the EROFS super block. */
export const EROFS_MAGIC = 0xe0f5e1e2;
/** Offset of the EROFS super block. */
export const EROFS_SUPER_OFFSET = 1024;

/** Returns the version of a bootstrap, or undefined if the bytes (at least its first 1028) are not a bootstrap. */
export function sniffVersion(bytes: Uint8Array): 5 | 6 | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length >= 8 && view.getUint32(0, true) === V5_MAGIC && view.getUint32(4, true) === V5_VERSION) return 5;
  if (bytes.length >= EROFS_SUPER_OFFSET + 4 && view.getUint32(EROFS_SUPER_OFFSET, true) === EROFS_MAGIC) return 6;
  return undefined;
}

/**
 * Returns the version of a bootstrap.
 *
 * @throws {RafsError} when it is neither version
 */
export function detectVersion(bytes: Uint8Array): 5 | 6 {
  const version = sniffVersion(bytes);
  if (version !== undefined) return version;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < EROFS_SUPER_OFFSET + 4) {
    unreadable("RAFS super block", 0, `image has ${bytes.length} bytes, expected ${EROFS_SUPER_OFFSET + 128} at least`);
  }
  if (view.getUint32(0, true) === V5_MAGIC) {
    unreadable("RAFS v5 super block", 4, `version is ${hex32(view.getUint32(4, true))}, expected ${hex32(V5_VERSION)}`);
  }
  unreadable(
    "RAFS super block",
    EROFS_SUPER_OFFSET,
    `magic is ${hex32(view.getUint32(EROFS_SUPER_OFFSET, true))}, expected ${hex32(EROFS_MAGIC)}`,
  );
}

/**
 * Tells RAFS v5, v6 and everything else apart by their magic numbers.
 *
 * v5 begins with 0x52414653 ("SFAR" on disk) and version 0x500; v6 is an EROFS image, whose super block at 1024 begins
 * with 0xe0f5e1e2. v5 is looked at first, as nydusd does. Source: dragonflyoss/nydus rafs/src/metadata/layout.
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
/** Where the EROFS super block is. */
export const EROFS_SUPER_OFFSET = 1024;

/** The version of a bootstrap, undefined when the bytes (its first 1028 at least) are no bootstrap at all. */
export function sniffVersion(bytes: Uint8Array): 5 | 6 | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length >= 8 && view.getUint32(0, true) === V5_MAGIC && view.getUint32(4, true) === V5_VERSION) return 5;
  if (bytes.length >= EROFS_SUPER_OFFSET + 4 && view.getUint32(EROFS_SUPER_OFFSET, true) === EROFS_MAGIC) return 6;
  return undefined;
}

/**
 * The version of a bootstrap.
 *
 * @throws {RafsError} when it is neither
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

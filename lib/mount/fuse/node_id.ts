/**
 * Node ids: image number and inode number in one. A pure function, so ids stay the same after a restart.
 *
 * ```
 *  63        40 39                 0
 * ┌────────────┬────────────────────┐
 * │ image      │ inode number       │    1 alone is the root of the mount, FUSE_ROOT_ID
 * └────────────┴────────────────────┘
 * ```
 * Image numbers are 1 … 2^23-1 and never reused; the upper half of the field's range is for devices of images. st_ino
 * is the image's own inode number: unique within the image, as on a mount of its own.
 *
 * @module
 */

const INO_BITS = 40n;
const INO_MASK = (1n << INO_BITS) - 1n;

/** Exclusive upper bound of an image's inode numbers. */
export const INO_LIMIT = 2 ** 40;
/** Exclusive upper bound of image numbers. */
export const IMAGE_LIMIT = 2 ** 23;

/**
 * Node id of inode `ino` of image `image`.
 *
 * @throws {RangeError} if a number does not fit
 */
export function nodeId(image: number, ino: number): bigint {
  if (!(ino >= 0 && ino < INO_LIMIT)) throw new RangeError(`Cannot make node id: inode number ${ino} exceeds 40 bits`);
  return (BigInt(image) << INO_BITS) | BigInt(ino);
}

/** Number of the image that `node` belongs to; 0 for the root of the mount. */
export function imageOf(node: bigint): number {
  return Number(node >> INO_BITS);
}

/** Inode number of `node` in its image. */
export function inoOf(node: bigint): number {
  return Number(node & INO_MASK);
}

/** The number that stands for an image in node ids if its devices are served instead of its tree. */
export function devicesNumber(image: number): number {
  return IMAGE_LIMIT + image;
}

/**
 * Checks an image number.
 *
 * @throws {RangeError} not an integer from 1 to 2^23-1
 */
export function checkImageNumber(image: number): void {
  if (!Number.isInteger(image) || image < 1 || image >= IMAGE_LIMIT) {
    throw new RangeError(`Cannot serve image: number ${image} is not in 1 … ${IMAGE_LIMIT - 1}`);
  }
}

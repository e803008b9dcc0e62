/**
 * Where writers have room for an image: memory, unless the caller has something better.
 *
 * @module
 */

/** See the module. */
export interface ImageMemory {
  /** So many zeros. */
  allocate(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** Called now and then while images are read or filled from one end to the other: the rest is not looked at soon. */
  letGo(): void;
}

/** Ordinary memory. */
export const ORDINARY_MEMORY: ImageMemory = { allocate: (sizeBytes) => new Uint8Array(sizeBytes), letGo: () => {} };

/** Bytes after which {@link ImageMemory.letGo} is called. */
export const LET_GO_BYTES = 8 << 20;

/** Bytes of a part. */
const PART_BYTES = 64 << 10;

/** All bytes of an image, one part after the other. */
export function* partsOf(image: Uint8Array, memory: ImageMemory): Generator<Uint8Array> {
  for (let at = 0; at < image.length; at += PART_BYTES) {
    if (at % LET_GO_BYTES === 0) memory.letGo();
    yield image.subarray(at, at + PART_BYTES);
  }
}

/** Inodes, names or chunks after which {@link ImageMemory.letGo} is called: some megabytes. */
export const LET_GO_AFTER = 1 << 15;

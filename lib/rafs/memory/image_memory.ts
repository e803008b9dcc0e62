/**
 * Memory in which writers build an image; ordinary memory unless the caller provides another kind.
 *
 * @module
 */

/** Allocator of image memory. */
export interface ImageMemory {
  /** Allocates `sizeBytes` zeroed bytes. */
  allocate(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** Called periodically during sequential reads and writes of an image: pages touched so far are not needed soon. */
  dropPages(): void;
}

/** Ordinary memory. */
export const ORDINARY_MEMORY: ImageMemory = { allocate: (sizeBytes) => new Uint8Array(sizeBytes), dropPages: () => {} };

/** Interval, in bytes, between calls of {@link ImageMemory.dropPages}. */
export const DROP_INTERVAL_BYTES = 8 << 20;

/** Bytes per part of {@link partsOf}. */
const PART_BYTES = 64 << 10;

/** Yields an image in consecutive parts. */
export function* partsOf(image: Uint8Array, memory: ImageMemory): Generator<Uint8Array> {
  for (let at = 0; at < image.length; at += PART_BYTES) {
    if (at % DROP_INTERVAL_BYTES === 0) memory.dropPages();
    yield image.subarray(at, at + PART_BYTES);
  }
}

/** Interval, in inodes, names or chunks (a few MiB), between calls of {@link ImageMemory.dropPages}. */
export const DROP_INTERVAL = 1 << 15;

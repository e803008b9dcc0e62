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

/** Inodes, names or chunks after which {@link ImageMemory.letGo} is called: some megabytes. */
export const LET_GO_AFTER = 1 << 15;

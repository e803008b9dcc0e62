/**
 * Records of requests that wait for data, in a mapped file that outlives its process and is shared by threads and a
 * successor.
 *
 * ```
 * │ u32 state │ laid out by the owner of the file │ … more records of the same size
 * ```
 * A record is in use if its state, the first word, is not 0. The state is written last and zeroed first, so that a
 * record is either complete or absent whenever the process is killed.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import { ftruncate } from "../../../ffi/unistd.ts";

/** A range of a file, in bytes. */
export interface FilePart {
  readonly offset: number;
  readonly length: number;
}

/**
 * Maps the file `fd` of `sizeBytes` bytes, shared.
 *
 * @param fd owned by the mapping; closed if it cannot be mapped
 * @param pinned ranges whose pages are made resident and locked: a thread that is being killed still completes a
 * read(2) if the kernel has something for it, and if that faulted on a page, the reader would get an error
 */
export function mapPinned(fd: Fd, sizeBytes: number, pinned: readonly FilePart[]): Mapping {
  using cleanup = new DisposableStack();
  cleanup.use(fd);
  ftruncate(fd, sizeBytes);
  const mapping = cleanup.use(Mapping.ofFile(fd, sizeBytes, { shared: true, writable: true }));
  for (const { offset, length } of pinned) mapping.pin(offset, length);
  cleanup.move();
  return mapping;
}

/** Records, as seen by the one thread that takes them and by those that release them. */
export class Parking {
  readonly #states: Int32Array<ArrayBuffer>;
  #next = 0;

  /**
   * @param bytes memory of the records
   * @param sizeBytes size of one record, a multiple of 4
   * @param freed shared counter of released records, to wait on when none is free
   */
  constructor(
    bytes: Uint8Array<ArrayBuffer>,
    private readonly sizeBytes: number,
    readonly freed: Int32Array<SharedArrayBuffer>,
  ) {
    this.#states = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /**
   * Takes a record and returns its number; blocks until one is free.
   *
   * @param fill writes the fields after the state
   * @param state not 0
   */
  take(state: number, fill: (slot: number) => void): number {
    for (;;) {
      const seen = Atomics.load(this.freed, 0);
      const slot = this.takeAtOnce(state, fill);
      if (slot !== undefined) return slot;
      Atomics.wait(this.freed, 0, seen);
    }
  }

  /** Like {@link take}, but returns undefined when none is free. */
  takeAtOnce(state: number, fill: (slot: number) => void): number | undefined {
    const slot = this.#findFree();
    if (slot < 0) return undefined;
    fill(slot);
    Atomics.store(this.#states, this.#at(slot), state);
    return slot;
  }

  /** Releases a record. */
  release(slot: number): void {
    Atomics.store(this.#states, this.#at(slot), 0);
    Atomics.add(this.freed, 0, 1);
    Atomics.notify(this.freed, 0);
  }

  /** State of a record; 0 if it is free. */
  stateOf(slot: number): number {
    return Atomics.load(this.#states, this.#at(slot));
  }

  /** Numbers of all records, in use or not. */
  slots(): number[] {
    return Array.from({ length: this.#count }, (_, slot) => slot);
  }

  get #count(): number {
    return this.#states.byteLength / this.sizeBytes;
  }

  #at(slot: number): number {
    return slot * this.sizeBytes / 4;
  }

  #findFree(): number {
    for (let i = 0; i < this.#count; i++) {
      const slot = (this.#next + i) % this.#count;
      if (this.stateOf(slot) === 0) {
        this.#next = slot + 1;
        return slot;
      }
    }
    return -1;
  }
}

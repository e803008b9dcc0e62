/**
 * Records of what waits for data, in a mapped file that outlives its process: threads and a successor see the same.
 *
 * ```
 * │ u32 state │ what the owner of the file lays out │ … one such record after the other
 * ```
 * A record is taken where its state, the first word, is not 0. The state is written last and zeroed first, so that a
 * record is there in whole or not at all, whenever the process is killed.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { Mapping } from "../../ffi/sys_mman.ts";
import { ftruncate } from "../../ffi/unistd.ts";

/** A part of a file, bytes. */
export interface FilePart {
  readonly offset: number;
  readonly length: number;
}

/**
 * The file `fd`, `sizeBytes` long, mapped for everyone.
 *
 * @param fd owned by the caller, closed where it cannot be mapped
 * @param pinned whose pages are there and stay: a thread that is being killed still takes what the kernel has for it, if
 * there is something, and where a page must be waited for then, the reader gets an error
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

/** Records, as seen by the one thread that takes them and by those that give them back. */
export class Parking {
  readonly #states: Int32Array<ArrayBuffer>;
  #next = 0;

  /**
   * @param bytes memory of the records
   * @param sizeBytes of one of them, a multiple of 4
   * @param freed a shared counter of the records given back, for waiting when none is free
   */
  constructor(
    bytes: Uint8Array<ArrayBuffer>,
    private readonly sizeBytes: number,
    readonly freed: Int32Array<SharedArrayBuffer>,
  ) {
    this.#states = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /**
   * Takes a record and returns its number; waits for one when all are taken.
   *
   * @param fill lays out what is behind the state
   * @param state not 0
   */
  take(state: number, fill: (slot: number) => void): number {
    for (;;) {
      const seen = Atomics.load(this.freed, 0);
      const slot = this.#findFree();
      if (slot >= 0) {
        fill(slot);
        Atomics.store(this.#states, this.#at(slot), state);
        return slot;
      }
      Atomics.wait(this.freed, 0, seen);
    }
  }

  /** Gives a record back. */
  release(slot: number): void {
    Atomics.store(this.#states, this.#at(slot), 0);
    Atomics.add(this.freed, 0, 1);
    Atomics.notify(this.freed, 0);
  }

  /** 0: the record is free. */
  stateOf(slot: number): number {
    return Atomics.load(this.#states, this.#at(slot));
  }

  /** Numbers of all records, taken or not. */
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

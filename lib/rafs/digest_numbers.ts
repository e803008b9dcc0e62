/**
 * Numbers digests in the order in which they are first seen, without an object or string each: 32 bytes for the digest
 * and 8 to 16 bytes in an open-addressing hash table.
 *
 * The hash is seeded, because an image's author chooses its digests.
 *
 * @module
 */
import { DIGEST_SIZE } from "./chunk_table.ts";
import { GrowingBytes } from "./growing.ts";

/** Initial number of slots; a power of two. */
const FIRST_SLOTS = 1024;
/** An arbitrary odd multiplier. */
const MULTIPLIER = 0x9e37_79b1;

/** Numbers digests from 0 in the order in which they are first seen. */
export class DigestNumbers {
  readonly #digests = new GrowingBytes();
  readonly #seed = crypto.getRandomValues(new Uint32Array(1))[0] as number;
  /** Each slot holds a number plus one, or 0 when free. At most half of the slots are in use. */
  #slots = new Uint32Array(FIRST_SLOTS);

  /** Digests so far. */
  get count(): number {
    return this.#digests.length / DIGEST_SIZE;
  }

  /** Returns the number of the digest at `at`. A new digest gets the current {@link count}. */
  numberOf(bytes: Uint8Array, at = 0): number {
    const slot = this.#slotOf(bytes, at);
    const known = this.#slots[slot] as number;
    if (known !== 0) return known - 1;
    const number = this.count;
    this.#digests.appendRange(bytes, at, at + DIGEST_SIZE);
    this.#slots[slot] = number + 1;
    if (this.count * 2 > this.#slots.length) this.#grow();
    return number;
  }

  /** Returns the digest with a number. A view, valid until the next digest is added. */
  digestOf(number: number): Uint8Array<ArrayBuffer> {
    return this.#digests.bytes.subarray(number * DIGEST_SIZE, (number + 1) * DIGEST_SIZE);
  }

  /** Removes all digests and frees their memory immediately instead of at the next garbage collection. */
  clear(): void {
    this.#digests.clear();
    this.#slots.buffer.transfer(0);
    this.#slots = new Uint32Array(FIRST_SLOTS);
  }

  /** Slot that holds the digest, or the free slot for it. */
  #slotOf(bytes: Uint8Array, at: number): number {
    const digests = this.#digests.bytes;
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(bytes, at) & mask;; slot = (slot + 1) & mask) {
      const known = this.#slots[slot] as number;
      if (known === 0 || isSame(digests, (known - 1) * DIGEST_SIZE, bytes, at)) return slot;
    }
  }

  #hash(bytes: Uint8Array, at: number): number {
    let hash = this.#seed;
    for (let k = 0; k < DIGEST_SIZE; k++) hash = Math.imul(hash ^ (bytes[at + k] as number), MULTIPLIER);
    return (hash ^ (hash >>> 15)) >>> 0;
  }

  #grow(): void {
    const slots = this.#slots.length * 2;
    const { count } = this;
    const digests = this.#digests.bytes;
    this.#slots = new Uint32Array(this.#slots.buffer.transfer(slots * Uint32Array.BYTES_PER_ELEMENT));
    this.#slots.fill(0);
    for (let number = 0; number < count; number++) {
      this.#slots[this.#slotOf(digests, number * DIGEST_SIZE)] = number + 1;
    }
  }
}

function isSame(a: Uint8Array, atA: number, b: Uint8Array, atB: number): boolean {
  for (let k = 0; k < DIGEST_SIZE; k++) if (a[atA + k] !== b[atB + k]) return false;
  return true;
}

/**
 * Numbers digests in the order in which they are first seen, without an object or string each: 32 bytes for the digest
 * and 8 to 16 bytes in an open-addressing hash table.
 *
 * An image's author chooses its digests, so the hash is one that nobody can foresee: the sum of all 16-bit parts, each
 * multiplied by a random number, of which the high bits are used. Source: Dietzfelbinger, "Universal hashing and k-wise
 * independent random variables via integer arithmetic without primes", 1996.
 *
 * @module
 */
import { DIGEST_SIZE } from "./chunk_table.ts";

/** Initial number of slots; a power of two. */
const FIRST_SLOTS = 1024;
/** 32-bit words of a digest. */
const WORDS = DIGEST_SIZE / 4;

/** Numbers digests from 0 in the order in which they are first seen. */
export class DigestNumbers {
  /** Words of all digests, and room for more. */
  #digests = new Int32Array(FIRST_SLOTS / 2 * WORDS);
  /** Words of the digest that is looked up. */
  readonly #sought = new Int32Array(WORDS);
  /** A random number for each half of a word. */
  readonly #multipliers = crypto.getRandomValues(new Int32Array(2 * WORDS));
  /** Each slot holds a number plus one, or 0 when free. At most half of the slots are in use. */
  #slots = new Uint32Array(FIRST_SLOTS);
  #count = 0;

  /** Digests so far. */
  get count(): number {
    return this.#count;
  }

  /** Returns the number of the digest at `at`. A new digest gets the current {@link count}. */
  numberOf(bytes: Uint8Array, at: number): number {
    const sought = this.#sought;
    for (let k = 0; k < WORDS; k++) sought[k] = wordAt(bytes, at + 4 * k);
    const slot = this.#slotOf(sought, 0);
    const known = this.#slots[slot] as number;
    if (known !== 0) return known - 1;
    const number = this.#count++, digests = this.#digests;
    for (let k = 0; k < WORDS; k++) digests[number * WORDS + k] = sought[k] as number;
    this.#slots[slot] = number + 1;
    if (this.#count * 2 === this.#slots.length) this.#grow();
    return number;
  }

  /** Returns the digest with a number. A view, valid until the next digest is added. */
  digestOf(number: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#digests.buffer, number * DIGEST_SIZE, DIGEST_SIZE);
  }

  /** Removes all digests and frees their memory immediately instead of at the next garbage collection. */
  clear(): void {
    this.#digests.buffer.transfer(0);
    this.#digests = new Int32Array(FIRST_SLOTS / 2 * WORDS);
    this.#slots.buffer.transfer(0);
    this.#slots = new Uint32Array(FIRST_SLOTS);
    this.#count = 0;
  }

  /** Slot that holds the digest at `words[at]`, or the free slot for it. */
  #slotOf(words: Int32Array, at: number): number {
    const slots = this.#slots, digests = this.#digests;
    const mask = slots.length - 1;
    for (let slot = this.#hash(words, at) >>> Math.clz32(mask);; slot = (slot + 1) & mask) {
      const known = slots[slot] as number;
      if (known === 0 || isSame(digests, (known - 1) * WORDS, words, at)) return slot;
    }
  }

  #hash(words: Int32Array, at: number): number {
    const multipliers = this.#multipliers;
    let hash = 0;
    for (let k = 0; k < WORDS; k++) {
      const word = words[at + k] as number;
      const low = Math.imul(multipliers[2 * k] as number, word & 0xffff);
      hash = (hash + low + Math.imul(multipliers[2 * k + 1] as number, word >>> 16)) | 0;
    }
    return hash;
  }

  /** Doubles the room. */
  #grow(): void {
    this.#digests = new Int32Array(this.#digests.buffer.transfer(this.#digests.byteLength * 2));
    this.#slots = new Uint32Array(this.#slots.buffer.transfer(this.#slots.byteLength * 2));
    this.#slots.fill(0);
    for (let number = 0; number < this.#count; number++) {
      this.#slots[this.#slotOf(this.#digests, number * WORDS)] = number + 1;
    }
  }
}

/** By bytes, because a view's methods are not inlined by V8's first compiler once a buffer was transferred. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24);
}

function isSame(a: Int32Array, atA: number, b: Int32Array, atB: number): boolean {
  for (let k = 0; k < WORDS; k++) if (a[atA + k] !== b[atB + k]) return false;
  return true;
}

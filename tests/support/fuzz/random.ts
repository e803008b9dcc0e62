/**
 * Random numbers as a pure function of a seed and a position: input 4711 of seed 1 is the same in every process.
 *
 * The generator is sfc32 (by Chris Doty-Humphrey, author of PractRand), seeded by splitmix32.
 *
 * @module
 */

/** One stream of numbers. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param position number of the input; streams of different positions are independent */
  constructor(seed: number, position: number) {
    let state = (seed ^ Math.imul(position >>> 0, 0x9e3779b1) ^ Math.floor(position / 2 ** 32)) >>> 0;
    const next = () => {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next() ^ position;
    for (let i = 0; i < 8; i++) this.u32();
  }

  /** 0 to 2^32-1. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** 0 to `limit - 1`; 0 for a limit below 1. */
  below(limit: number): number {
    return limit < 1 ? 0 : Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** `low` to `high`, inclusive. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** An element of a non-empty list. */
  pick<T>(list: ArrayLike<T>): T {
    if (list.length === 0) throw new RangeError("Cannot pick: the list is empty");
    return list[this.below(list.length)] as T;
  }
}

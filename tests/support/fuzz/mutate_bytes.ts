/**
 * Mutations of bytes that parsers are sensitive to: bits, boundary values, lengths, pieces of other inputs.
 *
 * If a seed lists its fields (offsets, lengths, counts), half of the mutations concern those.
 *
 * @module
 */
import type { Random } from "./random.ts";

/** A little-endian number in a seed. */
export interface Field {
  readonly at: number;
  readonly size: 1 | 2 | 4 | 8;
}

/** Bytes that a parser accepts, as a starting point. */
export interface Seed {
  readonly bytes: Uint8Array;
  readonly fields?: readonly Field[];
}

/** How inputs are made from seeds. */
export interface MutationOptions {
  /** Maximum length of an input in bytes; default: twice the longest seed plus 8192. */
  readonly maxBytes?: number;
  /** Corrects checksums after the mutations, so that a parser gets past them. */
  readonly repair?: (bytes: Uint8Array<ArrayBuffer>) => void;
}

const EDGES = [0n, 1n, 2n, 7n, 8n, 0x7fn, 0x80n, 0xffn, 0x100n, 0xfffn, 0x1000n, 0x1001n, 0x7fffn, 0x8000n, 0xffffn]
  .concat([0x10000n, 0xff_ffffn, 0x100_0000n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_fffen, 0xffff_ffffn, 1n << 32n])
  .concat([
    (1n << 40n) + 1n,
    (1n << 44n) - 1n,
    (1n << 53n) - 1n,
    1n << 53n,
    (1n << 63n) - 1n,
    1n << 63n,
    (1n << 64n) - 1n,
  ]);
const UNITS = [8, 12, 16, 32, 80, 128, 512, 4096];
/** Most of a sparse seed is padding: mutations go where there is data. */
const SPARSE = 0.4;

interface Prepared extends Seed {
  readonly hot: Uint32Array | undefined;
}

/** Makes inputs from seeds. */
export class Mutator {
  readonly #seeds: readonly Prepared[];
  readonly #maxBytes: number;
  readonly #repair: MutationOptions["repair"];

  constructor(seeds: readonly Seed[], options: MutationOptions = {}) {
    if (seeds.length === 0) throw new RangeError("Cannot make inputs: there is no seed");
    this.#seeds = seeds.map((seed) => ({ ...seed, hot: hotSpots(seed.bytes) }));
    this.#maxBytes = options.maxBytes ?? 2 * Math.max(...seeds.map(({ bytes }) => bytes.length)) + 8192;
    this.#repair = options.repair;
  }

  /**
   * Makes one input. One in 256 is an unchanged seed: otherwise a parser that refuses everything would go unnoticed.
   */
  make(random: Random): Uint8Array<ArrayBuffer> {
    // prefer the smaller of two: fast inputs run more often
    const [one, other] = [random.pick(this.#seeds), random.pick(this.#seeds)];
    const seed = one.bytes.length < other.bytes.length ? one : other;
    let bytes = seed.bytes.slice();
    if (random.oneIn(256)) return bytes;
    const changes = 1 + random.below(random.oneIn(4) ? 8 : 3);
    for (let i = 0; i < changes; i++) bytes = this.#change(random, seed, bytes);
    if (this.#repair !== undefined && !random.oneIn(8)) this.#repair(bytes);
    return bytes;
  }

  #change(random: Random, seed: Prepared, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (bytes.length === 0) return Uint8Array.of(random.below(256));
    if (seed.fields !== undefined && seed.fields.length > 0 && random.oneIn(2)) {
      changeField(random, seed.fields, bytes);
      return bytes;
    }
    const at = this.#place(random, seed, bytes);
    switch (random.below(12)) {
      case 0:
      case 1:
        bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
        return bytes;
      case 2:
        bytes[at] = random.oneIn(2) ? random.below(256) : Number(random.pick(EDGES) & 0xffn);
        return bytes;
      case 3:
      case 4: {
        const size = random.pick([2, 4, 8] as const);
        setNumber(bytes, at - at % size, size, edgeOf(random, bytes.length));
        return bytes;
      }
      case 5:
        return bytes.slice(0, cutOf(random, bytes.length));
      case 6:
        return this.#resized(bytes, at, at, randomPiece(random, this.#piece(random, bytes)));
      case 7:
        return this.#resized(bytes, at, Math.min(bytes.length, at + lengthOf(random)), new Uint8Array());
      case 8: {
        const other = random.pick(this.#seeds).bytes;
        const from = random.below(other.length);
        const piece = other.subarray(from, from + lengthOf(random));
        if (random.oneIn(2)) return this.#resized(bytes, at, at, piece);
        bytes.set(piece.subarray(0, bytes.length - at), at);
        return bytes;
      }
      case 9:
        bytes.copyWithin(random.below(bytes.length), at, at + lengthOf(random));
        return bytes;
      case 10:
        bytes.fill(random.pick([0, 0xff, 0x30, 0x20]), at, at + lengthOf(random));
        return bytes;
      default:
        return this.#resized(bytes, bytes.length, bytes.length, randomPiece(random, this.#piece(random, bytes)));
    }
  }

  #place(random: Random, { hot }: Prepared, bytes: Uint8Array): number {
    const at = hot === undefined || random.oneIn(4) ? random.below(bytes.length) : random.pick(hot);
    return at < bytes.length ? at : random.below(bytes.length);
  }

  #piece(random: Random, bytes: Uint8Array): Uint8Array {
    const from = random.below(bytes.length);
    return bytes.slice(from, from + lengthOf(random));
  }

  /** `bytes` with `piece` in place of `[from, to)`. */
  #resized(bytes: Uint8Array<ArrayBuffer>, from: number, to: number, piece: Uint8Array): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(Math.min(this.#maxBytes, from + piece.length + bytes.length - to));
    out.set(bytes.subarray(0, Math.min(from, out.length)));
    out.set(piece.subarray(0, Math.max(0, out.length - from)), Math.min(from, out.length));
    const rest = from + piece.length;
    if (rest < out.length) out.set(bytes.subarray(to, to + out.length - rest), rest);
    return out;
  }
}

function hotSpots(bytes: Uint8Array): Uint32Array | undefined {
  const spots = Uint32Array.from([...bytes.keys()].filter((at) => bytes[at] !== 0));
  return spots.length > 0 && spots.length < bytes.length * SPARSE ? spots : undefined;
}

function changeField(random: Random, fields: readonly Field[], bytes: Uint8Array<ArrayBuffer>): void {
  const { at, size } = random.pick(fields);
  const old = getNumber(bytes, at, size);
  switch (random.below(5)) {
    case 0: // a nearby value
      return setNumber(bytes, at, size, old + BigInt(random.pick([-4096, -16, -8, -1, 1, 8, 16, 4096])));
    case 1: { // the value of another field
      const other = random.pick(fields);
      return setNumber(bytes, at, size, getNumber(bytes, other.at, other.size));
    }
    case 2:
      return setNumber(bytes, at, size, old * 2n);
    case 3:
      return setNumber(bytes, at, size, old ^ (1n << BigInt(random.below(8 * size))));
    default:
      return setNumber(bytes, at, size, edgeOf(random, bytes.length));
  }
}

function edgeOf(random: Random, length: number): bigint {
  return random.oneIn(3) ? BigInt(length + random.between(-9, 9)) : random.pick(EDGES);
}

function getNumber(bytes: Uint8Array, at: number, size: number): bigint {
  let value = 0n;
  for (let i = Math.min(size, bytes.length - at) - 1; i >= 0; i--) {
    value = value << 8n | BigInt(bytes[at + i] as number);
  }
  return value;
}

function setNumber(bytes: Uint8Array, at: number, size: number, value: bigint): void {
  let rest = BigInt.asUintN(64, value);
  for (let i = 0; i < size && at + i < bytes.length; i++, rest >>= 8n) bytes[at + i] = Number(rest & 0xffn);
}

/** Where to cut: anywhere, or at the end of a unit. */
function cutOf(random: Random, length: number): number {
  const end = random.below(length);
  return random.oneIn(2) ? end : end - end % random.pick(UNITS);
}

function lengthOf(random: Random): number {
  return random.oneIn(4) ? random.pick(UNITS) * random.between(1, 3) : random.between(1, 24);
}

function randomPiece(random: Random, own: Uint8Array): Uint8Array {
  if (random.oneIn(2)) return own;
  const fill = random.pick([0, 0xff, -1]);
  return new Uint8Array(lengthOf(random)).map(() => fill < 0 ? random.below(256) : fill);
}

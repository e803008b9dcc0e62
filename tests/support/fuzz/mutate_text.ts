/**
 * Mutations of text: characters, words and numbers of a grammar, and the structure of JSON.
 *
 * @module
 */
import type { Random } from "./random.ts";

/** How inputs are made from texts. */
export interface TextOptions {
  /** Words of the grammar, inserted anywhere. */
  readonly words?: readonly string[];
  /** Seeds are JSON documents: half of the mutations concern their structure. */
  readonly json?: boolean;
}

const CHARACTERS = "\0\t\n\r \"'\\/.,:;=@%{}[]()-_~+*?#0aZ\x7f\x80\u00ff\ud800\ufeff\u202e\u{1f600}";
const NUMBERS = ["0", "-0", "-1", "1e308", "1e999", "4294967295", "4294967296", "9007199254740991", "9007199254740993"]
  .concat(["18446744073709551615", "-9223372036854775809", "0.1", "00", "0x10", "NaN", "1".repeat(400)]);
const NAMES = ["", "..", "../..", "/", "/etc/shadow", "a/../../b", "__proto__", "constructor", "toString", "\0", "a\0b"]
  .concat(["n".repeat(300), "%2e%2e%2f", "-rf", "a\nb", "\u2025", "C:\\"]);
const VALUES: readonly unknown[] = [null, true, false, [], {}, 0, -1, 1e308, 0.5, 2 ** 53, [[]], [null], { a: {} }];
const DEPTH = 5000;

/** Makes inputs from texts. */
export class TextMutator {
  readonly #seeds: readonly string[];
  readonly #documents: readonly unknown[];
  readonly #words: readonly string[];

  constructor(seeds: readonly string[], options: TextOptions = {}) {
    if (seeds.length === 0) throw new RangeError("Cannot make inputs: there is no seed");
    this.#seeds = seeds;
    this.#documents = options.json === true ? seeds.map((seed) => JSON.parse(seed) as unknown) : [];
    this.#words = [...options.words ?? [], ...NAMES, ...NUMBERS];
  }

  /** Makes one input; one in 256 is an unchanged seed. */
  make(random: Random): string {
    if (random.oneIn(256)) return random.pick(this.#seeds);
    if (this.#documents.length > 0 && random.oneIn(2)) {
      let document = structuredClone(random.pick(this.#documents));
      for (let i = random.between(1, 3); i > 0; i--) document = this.#changeJson(random, document);
      const text = JSON.stringify(document) ?? "null";
      return random.oneIn(8) ? this.#changeText(random, text) : text;
    }
    let text = random.pick(this.#seeds);
    for (let i = random.between(1, 4); i > 0; i--) text = this.#changeText(random, text);
    return text;
  }

  #changeText(random: Random, text: string): string {
    const at = random.below(text.length + 1);
    const to = Math.min(text.length, at + (random.oneIn(4) ? random.below(40) : random.below(4)));
    switch (random.below(9)) {
      case 0:
        return text.slice(0, at) + text.slice(to);
      case 1:
        return text.slice(0, at) + random.pick([...CHARACTERS]) + text.slice(to);
      case 2:
        return text.slice(0, at) + random.pick(this.#words) + text.slice(random.oneIn(2) ? at : to);
      case 3:
        return text.slice(0, to) + text.slice(at, to).repeat(random.oneIn(8) ? 200 : random.below(4)) + text.slice(to);
      case 4: {
        const other = random.pick(this.#seeds);
        const from = random.below(other.length);
        return text.slice(0, at) + other.slice(from, from + random.below(60)) + text.slice(to);
      }
      case 5:
        return text.slice(0, at);
      case 6:
        return replaceNumber(random, text);
      case 7:
        if (!random.oneIn(16)) return text.slice(0, at) + text.slice(at, to).toUpperCase() + text.slice(to);
        return text.slice(0, at) + random.pick(["[", '{"a":', "(", "\\", "a.", "a/", '"']).repeat(DEPTH) +
          text.slice(to);
      default:
        return text.slice(0, at) + String.fromCharCode(random.below(random.oneIn(2) ? 0x80 : 0x10000)) + text.slice(to);
    }
  }

  /** Changes one value somewhere in the document. */
  #changeJson(random: Random, document: unknown): unknown {
    if (typeof document !== "object" || document === null || random.oneIn(6)) return this.#value(random, document);
    const keys = Object.keys(document);
    const holder = document as Record<string, unknown>;
    if (keys.length === 0 || random.oneIn(6)) {
      put(holder, random.oneIn(2) ? random.pick(this.#words) : "extra", this.#value(random, undefined));
      return document;
    }
    const key = random.pick(keys);
    if (random.oneIn(6)) delete holder[key];
    else if (random.oneIn(8)) put(holder, random.pick(this.#words), holder[key]);
    else put(holder, key, this.#changeJson(random, holder[key]));
    return document;
  }

  #value(random: Random, old: unknown): unknown {
    if (typeof old === "string" && random.oneIn(2)) return this.#changeText(random, old);
    if (typeof old === "number" && random.oneIn(2)) return Number(random.pick(NUMBERS));
    if (Array.isArray(old) && random.oneIn(2)) return [...old, ...old];
    return structuredClone(random.oneIn(3) ? random.pick(this.#words) : random.pick(VALUES));
  }
}

/** Sets a key as JSON.parse does: "__proto__" is an ordinary key. */
function put(holder: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

function replaceNumber(random: Random, text: string): string {
  const numbers = [...text.matchAll(/[0-9]+/g)];
  if (numbers.length === 0) return text + random.pick(NUMBERS);
  const { 0: digits, index } = random.pick(numbers);
  return text.slice(0, index) + random.pick(NUMBERS) + text.slice(index + digits.length);
}

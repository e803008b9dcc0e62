/**
 * Inputs from a fast-check arbitrary, mixed with mutated seeds.
 *
 * @module
 */
import fc from "fast-check";
import type { Random } from "./random.ts";
import type { Inputs } from "./target.ts";

/** One in this many inputs comes from the grammar: they are more expensive than mutated seeds. */
const GRAMMAR_ONE_IN = 4;

/** Inputs from `grammar`, or from mutated seeds (`changed`). */
export function withGrammar(grammar: fc.Arbitrary<string>, changed: Inputs<string>): Inputs<string> {
  return {
    make(random: Random): string {
      if (!random.oneIn(GRAMMAR_ONE_IN)) return changed.make(random);
      return fc.sample(grammar, { seed: random.u32() | 0, numRuns: 1 })[0] ?? "";
    },
  };
}

/** Concatenates the texts of the parts. */
export function sequence(...parts: fc.Arbitrary<string>[]): fc.Arbitrary<string> {
  return fc.tuple(...parts).map((texts) => texts.join(""));
}

/** The part, or nothing. */
export function maybe(part: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(part, fc.constant(""));
}

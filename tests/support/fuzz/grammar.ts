/**
 * Inputs out of a fast-check arbitrary, mixed with changed seeds.
 *
 * @module
 */
import fc from "fast-check";
import type { Random } from "./random.ts";
import type { Inputs } from "./target.ts";

/** One input in so many is of the grammar: they are dearer than changed seeds. */
const GRAMMAR_ONE_IN = 4;

/** Inputs of `grammar`, or of `changed` seeds. */
export function withGrammar(grammar: fc.Arbitrary<string>, changed: Inputs<string>): Inputs<string> {
  return {
    make(random: Random): string {
      if (!random.oneIn(GRAMMAR_ONE_IN)) return changed.make(random);
      return fc.sample(grammar, { seed: random.u32() | 0, numRuns: 1 })[0] ?? "";
    },
  };
}

/** Text out of parts that stand behind one another. */
export function sequence(...parts: fc.Arbitrary<string>[]): fc.Arbitrary<string> {
  return fc.tuple(...parts).map((texts) => texts.join(""));
}

/** A part, or nothing. */
export function maybe(part: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(part, fc.constant(""));
}

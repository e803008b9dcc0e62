/**
 * Our members of a JSON file and their previous values, needed to remove them from a file that was edited in the
 * meantime.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import type { JsonText } from "./json_text.ts";

/** A changed member. An absent value means that the member did not or does not exist. */
const MemberChange = v.object({
  name: v.string(),
  before: v.optional(v.unknown()),
  ours: v.optional(v.unknown()),
});
export type MemberChange = v.InferOutput<typeof MemberChange>;
export const MemberChanges = v.array(MemberChange);

/** Returns one change for each member of `wanted`, whether or not it differs from `json`. */
export function changesOf(json: JsonText, wanted: ReadonlyMap<string, unknown>): MemberChange[] {
  return [...wanted].map(([name, ours]) => ({ name, before: json.get(name), ours }));
}

/**
 * Removes our members from a file and keeps everything else.
 *
 * @returns the text, and the names of members that were changed since and are left alone
 */
export function revertChanges(
  current: JsonText,
  changes: readonly MemberChange[],
): { readonly text: string; readonly kept: readonly string[] } {
  let json = current;
  const kept: string[] = [];
  for (const { name, before, ours } of changes) {
    if (isDeepStrictEqual(json.get(name), ours)) json = json.with(name, before);
    else if (!isDeepStrictEqual(json.get(name), before)) kept.push(name);
  }
  return { text: json.text, kept };
}

/**
 * Members of a JSON file that are ours, and what stood there before: what is needed to take them back out of a file that
 * somebody has edited meanwhile.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { JsonText } from "./json_text.ts";

/** One member. A value that is absent stands for a member that is not there. */
const MemberChange = v.object({
  name: v.string(),
  before: v.optional(v.unknown()),
  ours: v.optional(v.unknown()),
});
export type MemberChange = v.InferOutput<typeof MemberChange>;
export const MemberChanges = v.array(MemberChange);

/** What `wanted` changes of `json`: one entry for each of its members, whether it changes it or not. */
export function changesOf(json: JsonText, wanted: ReadonlyMap<string, unknown>): MemberChange[] {
  return [...wanted].map(([name, ours]) => ({ name, before: json.get(name), ours }));
}

/**
 * The file without our members, everything else as it is now.
 *
 * @returns the text, and the names that somebody has changed since, which are left alone
 * @throws {NydusGdError} "config" for what is no JSON
 */
export function takeBack(
  text: string,
  path: string,
  changes: readonly MemberChange[],
): { readonly text: string; readonly kept: readonly string[] } {
  let json = JsonText.parse(text, path);
  const kept: string[] = [];
  for (const { name, before, ours } of changes) {
    if (isDeepStrictEqual(json.get(name), ours)) json = json.with(name, before);
    else if (!isDeepStrictEqual(json.get(name), before)) kept.push(name);
  }
  return { text: json.text, kept };
}

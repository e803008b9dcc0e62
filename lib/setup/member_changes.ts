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
 * Removes our members from a file and keeps everything else, in an object that others edited as well.
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
    const now = json.get(name);
    if (isDeepStrictEqual(now, ours)) json = json.with(name, before);
    else if (isObject(now) && isObject(ours)) {
      json = json.with(name, withoutOurs(now, ours, isObject(before) ? before : {}));
    } else if (!isDeepStrictEqual(now, before)) kept.push(name);
  }
  return { text: json.text, kept };
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object with later edits, of which only what we set returns to its previous value. */
function withoutOurs(now: JsonObject, ours: JsonObject, before: JsonObject): JsonObject | undefined {
  const left = Object.entries(now).flatMap(([key, value]) => {
    const isOurs = isDeepStrictEqual(value, ours[key]) && !isDeepStrictEqual(value, before[key]);
    return isOurs ? (key in before ? [[key, before[key]]] : []) : [[key, value]];
  });
  return left.length === 0 && Object.keys(before).length === 0 ? undefined : Object.fromEntries(left);
}

/**
 * Describes valibot errors with the path of the value: `device.backend.config.host is missing`.
 *
 * Messages never contain values, so that a secret under a wrong key or of a wrong type is not leaked. The exception is
 * a short word in place of one of a list of words, which is most likely a typo and shorter than any token.
 *
 * @module
 */
import * as v from "valibot";

/** Path of a value in a document, from its root. */
export type Path = readonly (string | number)[];

/** Either the value accepted by a schema, or the first error. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly path: Path; readonly state: string };

/** Formats a path as `device.blobs[2].id`; the root is "it". */
export function formatPath(path: Path): string {
  let text = "";
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += (text === "" ? "" : ".") + key;
  }
  return text === "" ? "it" : text;
}

/** Checks `input` against `schema`; `base` is the path of `input` in its document. */
export function parseWith<S extends v.GenericSchema>(
  schema: S,
  input: unknown,
  base: Path = [],
): Parsed<v.InferOutput<S>> {
  const result = v.safeParse(schema, input, { abortEarly: true });
  if (result.success) return { ok: true, value: result.output };
  const issue = result.issues[0];
  return { ok: false, path: [...base, ...keysOf(issue)], state: stateOf(issue) };
}

/**
 * Paths of the keys of `input` that `schema` does not define. Descends into optional values, arrays, records and pipes.
 */
export function unknownKeys(schema: v.GenericSchema, input: unknown, base: Path = []): Path[] {
  if (typeof input !== "object" || input === null) return [];
  const inner = schema as v.GenericSchema & {
    readonly entries?: unknown;
    readonly wrapped?: v.GenericSchema;
    readonly item?: v.GenericSchema;
    readonly value?: v.GenericSchema;
  };
  if (inner.wrapped !== undefined) return unknownKeys(inner.wrapped, input, base);
  if (inner.type === "array" && inner.item !== undefined) {
    const item = inner.item;
    return Array.isArray(input) ? input.flatMap((value, i) => unknownKeys(item, value, [...base, i])) : [];
  }
  if (inner.type === "record" && inner.value !== undefined) {
    const value = inner.value;
    return Object.entries(input).flatMap(([key, each]) => unknownKeys(value, each, [...base, key]));
  }
  if (typeof inner.entries !== "object" || inner.entries === null) return [];
  const entries = new Map(Object.entries(inner.entries as Record<string, v.GenericSchema>));
  return Object.entries(input).flatMap(([key, value]) => {
    const entry = entries.get(key);
    return entry === undefined ? [[...base, key]] : unknownKeys(entry, value, [...base, key]);
  });
}

function keysOf(issue: v.BaseIssue<unknown>): Path {
  return (issue.path ?? []).map((item) => typeof item.key === "number" ? item.key : String(item.key));
}

function stateOf(issue: v.BaseIssue<unknown>): string {
  if (issue.kind === "schema") {
    if (issue.input === undefined) return "is missing";
    if (issue.type === "picklist" || issue.type === "literal" || issue.type === "enum") {
      const expected = (issue.expected ?? "").replace(/^\((.*)\)$/, "$1").replaceAll(" | ", ", ");
      return `must be ${expected.includes(",") ? "one of " : ""}${expected}, not ${describe(issue.input)}`;
    }
    const expected = (issue.expected ?? "").replace(/^\((.*)\)$/, "$1").split(" | ");
    return `must be ${expected.map((each) => withArticle(nameOf(each))).join(" or ")}, not ${kindOf(issue.input)}`;
  }
  return issue.message;
}

/** Shows a short word, the likely typo of a picklist value; describes anything else by its kind. */
function describe(input: unknown): string {
  const isShort = typeof input === "number" || (typeof input === "string" && /^[\w.-]{0,16}$/.test(input));
  return isShort ? JSON.stringify(input) : kindOf(input);
}

function nameOf(expected: string): string {
  const names: Record<string, string> = { Object: "object", Array: "list", boolean: "true or false" };
  return names[expected] || expected || "something else";
}

function kindOf(input: unknown): string {
  if (input === null) return "null";
  if (Array.isArray(input)) return "a list";
  return withArticle(typeof input);
}

function withArticle(noun: string): string {
  if (noun === "true or false") return noun;
  return `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}

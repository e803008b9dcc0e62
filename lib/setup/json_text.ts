/**
 * A JSON object as text in which single members can be changed while everything else stays as written: order,
 * indentation, spaces, line ends.
 *
 * ```ts
 * JsonText.parse('{\n  "a": 1\n}\n', "daemon.json").with("b", true).text; // '{\n  "a": 1,\n  "b": true\n}\n'
 * ```
 * Follows the grammar of RFC 8259 strictly and requires unique names. Input that a tolerant parser would accept
 * (comments, trailing commas, duplicate names) is rejected with its line, because a change could not preserve it.
 *
 * @throws {NydusGdError} "config": `Cannot read /etc/docker/daemon.json: line 3: it has a comment, which JSON does not
 * know`
 * @module
 */
import { type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { NydusGdError } from "../base/errors.ts";

/** A member and its offsets in the text: `"name" : value`. */
interface Member {
  readonly name: string;
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

const INDENT = "    ";
/** Maximum nesting of objects and arrays. */
const MAX_DEPTH = 100;

/** A JSON object as text. Immutable. */
export class JsonText {
  private constructor(
    readonly text: string,
    private readonly path: string,
    /** Offset of `{`. */
    private readonly open: number,
    private readonly members: readonly Member[],
  ) {}

  /** @param path for error messages */
  static parse(text: string, path: string): JsonText {
    const { open, members } = parseObject(text, path);
    return new JsonText(text, path, open, members);
  }

  /** Names in order. */
  get names(): readonly string[] {
    return this.members.map(({ name }) => name);
  }

  /** Value of a member; undefined if it does not exist. */
  get(name: string): unknown {
    const member = this.#member(name);
    return member === undefined ? undefined : JSON.parse(this.text.slice(member.valueStart, member.end));
  }

  /** Line number, from 1, at which a member begins. */
  lineOf(name: string): number | undefined {
    const member = this.#member(name);
    return member && lineAt(this.text, member.start);
  }

  /** Returns a copy with a member set, appended if it is new, or removed if `value` is undefined. */
  with(name: string, value: unknown): JsonText {
    if (value === undefined) return this.#without(name);
    const member = this.#member(name);
    if (member === undefined) return this.#appended(name, value);
    return this.#reparsed(this.#replaced(member.valueStart, member.end, this.#valueText(value)));
  }

  #appended(name: string, value: unknown): JsonText {
    const last = this.members.at(-1);
    const added = `${JSON.stringify(name)}${this.#colon()}${this.#valueText(value)}`;
    if (last !== undefined) {
      return this.#reparsed(this.#replaced(last.end, last.end, `,${this.#spaceBefore(last)}${added}`));
    }
    const close = this.text.indexOf("}", this.open);
    return this.#reparsed(this.#replaced(this.open, close + 1, `{\n${INDENT}${added}\n}`));
  }

  #without(name: string): JsonText {
    const index = this.members.findIndex((member) => member.name === name);
    const [before, member, after] = [this.members[index - 1], this.members[index], this.members[index + 1]];
    if (member === undefined) return this;
    if (before !== undefined) return this.#reparsed(this.#replaced(before.end, member.end, ""));
    if (after !== undefined) return this.#reparsed(this.#replaced(member.start, after.start, ""));
    return this.#reparsed(this.#replaced(this.open + 1, this.text.indexOf("}", member.end), ""));
  }

  #member(name: string): Member | undefined {
    return this.members.find((member) => member.name === name);
  }

  #replaced(start: number, end: number, by: string): string {
    return this.text.slice(0, start) + by + this.text.slice(end);
  }

  #reparsed(text: string): JsonText {
    return JsonText.parse(text, this.path);
  }

  /** White space between the member and the preceding comma or brace. */
  #spaceBefore(member: Member): string {
    return /\s*$/.exec(this.text.slice(this.open + 1, member.start))?.[0] ?? "";
  }

  /** Colon with the spacing of the first member. */
  #colon(): string {
    const [first] = this.members;
    if (first === undefined) return ": ";
    const between = this.text.slice(first.start, first.valueStart);
    return /\s*:\s*$/.exec(between)?.[0] ?? ": ";
  }

  /** Formats a value with the indentation of the members. */
  #valueText(value: unknown): string {
    const [first] = this.members;
    const space = first === undefined ? `\n${INDENT}` : this.#spaceBefore(first);
    const newline = space.lastIndexOf("\n");
    if (newline < 0) return JSON.stringify(value);
    const indent = space.slice(newline + 1);
    return JSON.stringify(value, undefined, indent).replaceAll(
      "\n",
      `${space.includes("\r\n") ? "\r\n" : "\n"}${indent}`,
    );
  }
}

/** Error messages by error name. */
const STATES: Readonly<Record<string, string>> = {
  PropertyNameExpected: "expected a name in double quotes",
  ValueExpected: "expected a value",
  ColonExpected: "expected a colon",
  CommaExpected: "expected a comma or the closing bracket",
  CloseBraceExpected: "expected a comma or a closing brace",
  CloseBracketExpected: "expected a comma or a closing bracket",
  EndOfFileExpected: "something follows the end of the object",
  InvalidCommentToken: "it has a comment, which JSON does not allow",
  UnexpectedEndOfComment: "it has a comment, which JSON does not allow",
  UnexpectedEndOfString: "a string is not terminated",
};

/** Parses `text` as an object and returns its members and the offset of its brace. */
function parseObject(text: string, path: string): { readonly open: number; readonly members: readonly Member[] } {
  const refuse = (state: string, at: number): never => {
    throw new NydusGdError("config", `Cannot read ${path}: line ${lineAt(text, at)}: ${state}`, {
      hint: `correct ${path}`,
    });
  };
  if (text.startsWith("\uFEFF")) refuse("it begins with a byte order mark, which Docker before 23 does not read", 0);
  if (depthOf(text) > MAX_DEPTH) refuse("it is nested too deeply", 0);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
  const [error] = errors;
  if (error !== undefined) refuse(STATES[printParseErrorCode(error.error)] ?? "it is not JSON", error.offset);
  if (root?.type !== "object") return refuse("expected an object", root?.offset ?? 0);
  const large = findInfinite(root);
  // as Docker refuses it
  if (large !== undefined) refuse("a number is larger than any that can be represented", large.offset);
  const twice = findTwice(root);
  if (twice !== undefined) refuse(`it has a second ${JSON.stringify(twice.children?.[0]?.value)}`, twice.offset);
  const members = (root.children ?? []).map(({ offset, children: [name, value] = [] }) => ({
    name: name?.value as string,
    start: offset,
    valueStart: value?.offset ?? 0,
    end: value === undefined ? 0 : value.offset + value.length,
  }));
  return { open: root.offset, members };
}

/** Upper bound of the nesting depth: brackets in strings count, too. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  for (const [character] of text.matchAll(/[[\]{}]/g)) {
    depth += character === "[" || character === "{" ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** Finds a member whose name occurs twice in its object. */
function findTwice({ type, children = [] }: Node): Node | undefined {
  const names = new Set<unknown>();
  for (const child of children) {
    const name = child.children?.[0]?.value;
    if (type === "object" && names.has(name)) return child;
    names.add(name);
    const below = findTwice(child);
    if (below !== undefined) return below;
  }
  return undefined;
}

/** Finds a number beyond the range of a double, for example 1e999. */
function findInfinite(node: Node): Node | undefined {
  if (node.value === Infinity || node.value === -Infinity) return node;
  for (const child of node.children ?? []) {
    const below = findInfinite(child);
    if (below !== undefined) return below;
  }
  return undefined;
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

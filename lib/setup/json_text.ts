/**
 * A JSON object as text, of which single members are changed and everything else stays as it was written: order,
 * indentation, spaces, line ends.
 *
 * ```ts
 * JsonText.parse('{\n  "a": 1\n}\n', "daemon.json").with("b", true).text; // '{\n  "a": 1,\n  "b": true\n}\n'
 * ```
 * Strict as the grammar of RFC 8259, with names that are unique: what a tolerant reader would pass over
 * (comments, a comma too many, a second member of one name) is refused with its line, since a change could not keep it.
 *
 * @throws {NydusGdError} "config": `Cannot read /etc/docker/daemon.json: line 3: it has a comment, which JSON does not know`
 * @module
 */
import { type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { NydusGdError } from "../base/errors.ts";

/** A member and where it stands: `"name" : value`. Offsets into the text. */
interface Member {
  readonly name: string;
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

const INDENT = "    ";
/** Objects and lists in each other. */
const MAX_DEPTH = 100;

/** See the module. Immutable. */
export class JsonText {
  private constructor(
    readonly text: string,
    private readonly path: string,
    /** Offset of `{`. */
    private readonly open: number,
    private readonly members: readonly Member[],
  ) {}

  /** @param path for messages */
  static parse(text: string, path: string): JsonText {
    const { open, members } = parseObject(text, path);
    return new JsonText(text, path, open, members);
  }

  /** Names in their order. */
  get names(): readonly string[] {
    return this.members.map(({ name }) => name);
  }

  /** The value of a member; undefined where there is none. */
  get(name: string): unknown {
    const member = this.#member(name);
    return member === undefined ? undefined : JSON.parse(this.text.slice(member.valueStart, member.end));
  }

  /** The line, from 1, on which a member begins. */
  lineOf(name: string): number | undefined {
    const member = this.#member(name);
    return member && lineAt(this.text, member.start);
  }

  /** With another value of a member, which comes last where it is new; without the member for undefined. */
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

  /** What stands between the member and the comma or brace before it. */
  #spaceBefore(member: Member): string {
    return /\s*$/.exec(this.text.slice(this.open + 1, member.start))?.[0] ?? "";
  }

  /** As the others have it. */
  #colon(): string {
    const [first] = this.members;
    if (first === undefined) return ": ";
    const between = this.text.slice(first.start, first.valueStart);
    return /\s*:\s*$/.exec(between)?.[0] ?? ": ";
  }

  /** Indented as deep as a member is. */
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

/** By the name of the error. */
const STATES: Readonly<Record<string, string>> = {
  PropertyNameExpected: "expected a name in double quotes",
  ValueExpected: "expected a value",
  ColonExpected: "expected a colon",
  CommaExpected: "expected a comma or the closing bracket",
  CloseBraceExpected: "expected a comma or a closing brace",
  CloseBracketExpected: "expected a comma or a closing bracket",
  EndOfFileExpected: "something follows the end of the object",
  InvalidCommentToken: "it has a comment, which JSON does not know",
  UnexpectedEndOfComment: "it has a comment, which JSON does not know",
  UnexpectedEndOfString: "a string has no end",
};

/** The members of the object that `text` is, and where it begins. */
function parseObject(text: string, path: string): { readonly open: number; readonly members: readonly Member[] } {
  const refuse = (state: string, at: number): never => {
    throw new NydusGdError("config", `Cannot read ${path}: line ${lineAt(text, at)}: ${state}`, {
      hint: `mend ${path}`,
    });
  };
  if (text.startsWith("\uFEFF")) refuse("it begins with a byte order mark, which Docker does not read", 0);
  if (depthOf(text) > MAX_DEPTH) refuse("it is nested too deeply", 0);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
  const [error] = errors;
  if (error !== undefined) refuse(STATES[printParseErrorCode(error.error)] ?? "it is no JSON", error.offset);
  if (root?.type !== "object") return refuse("expected an object", root?.offset ?? 0);
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

/** An upper bound of how deep objects and lists are in each other: those in strings count too. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  for (const [character] of text.matchAll(/[[\]{}]/g)) {
    depth += character === "[" || character === "{" ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** A member whose name another one of its object has as well. */
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

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

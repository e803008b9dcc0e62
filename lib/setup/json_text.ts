/**
 * A JSON object as text, of which single members are changed and everything else stays as it was written: order,
 * indentation, spaces, line ends.
 *
 * ```ts
 * JsonText.parse('{\n  "a": 1\n}\n', "daemon.json").with("b", true).text; // '{\n  "a": 1,\n  "b": true\n}\n'
 * ```
 * Strict as the grammar of RFC 8259, with names that are unique at the top: what a tolerant reader would pass over
 * (comments, a comma too many, a second member of one name) is refused with its line, since a change could not keep it.
 *
 * @throws {NydusGdError} "config": `Cannot read /etc/docker/daemon.json: line 3: it has a comment, which JSON does not know`
 * @module
 */
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
    const scanner = new Scanner(text, path);
    const open = scanner.skipSpace();
    const members = scanner.object();
    scanner.end();
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

/** Reads a document once, from its beginning to its end. */
class Scanner {
  #at = 0;
  #depth = 0;

  constructor(private readonly text: string, private readonly path: string) {
    if (text.startsWith("\uFEFF")) this.#fail("it begins with a byte order mark, which Docker does not read");
  }

  /** The offset behind it. */
  skipSpace(): number {
    while (" \t\r\n".includes(this.text[this.#at] ?? "x")) this.#at++;
    const next = this.text.slice(this.#at, this.#at + 2);
    if (next === "//" || next === "/*" || next[0] === "#") this.#fail("it has a comment, which JSON does not know");
    return this.#at;
  }

  end(): void {
    this.skipSpace();
    if (this.#at < this.text.length) this.#fail("something follows the end of the object");
  }

  /** @returns its members. @throws where two have one name */
  object(): Member[] {
    const members: Member[] = [];
    this.#expect("{", "an object");
    this.skipSpace();
    if (this.#take("}")) return members;
    for (;;) {
      const start = this.skipSpace();
      if (this.text[start] === "}") this.#fail("a comma stands before the closing brace");
      const name = this.#string("a name in double quotes");
      if (members.some((member) => member.name === name)) this.#fail(`it has a second ${JSON.stringify(name)}`, start);
      this.skipSpace();
      this.#expect(":", `a colon after ${JSON.stringify(name)}`);
      const valueStart = this.skipSpace();
      this.#value();
      members.push({ name, start, valueStart, end: this.#at });
      this.skipSpace();
      if (this.#take("}")) return members;
      this.#expect(",", `a comma or a closing brace after ${JSON.stringify(name)}`);
    }
  }

  #value(): void {
    const next = this.text[this.#at];
    if (next === '"') return void this.#string("a string");
    if (next === "{" || next === "[") {
      if (++this.#depth > MAX_DEPTH) this.#fail("it is nested too deeply");
      if (next === "{") this.object();
      else this.#array();
      this.#depth--;
      return;
    }
    const word = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y;
    word.lastIndex = this.#at;
    if (!word.test(this.text)) this.#fail("expected a value");
    this.#at = word.lastIndex;
  }

  #array(): void {
    this.#expect("[", "an array");
    this.skipSpace();
    if (this.#take("]")) return;
    for (;;) {
      this.skipSpace();
      if (this.text[this.#at] === "]") this.#fail("a comma stands before the closing bracket");
      this.#value();
      this.skipSpace();
      if (this.#take("]")) return;
      this.#expect(",", "a comma or a closing bracket");
    }
  }

  #string(what: string): string {
    // deno-lint-ignore no-control-regex
    const string = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
    string.lastIndex = this.#at;
    const found = string.exec(this.text)?.[0];
    if (found === undefined) return this.#fail(`expected ${what}`);
    this.#at = string.lastIndex;
    return JSON.parse(found);
  }

  #take(character: string): boolean {
    if (this.text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string, what: string): void {
    if (!this.#take(character)) this.#fail(`expected ${what}`);
  }

  #fail(state: string, at = this.#at): never {
    throw new NydusGdError("config", `Cannot read ${this.path}: line ${lineAt(this.text, at)}: ${state}`, {
      hint: `mend ${this.path}`,
    });
  }
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

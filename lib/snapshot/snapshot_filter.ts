/**
 * containerd's filters of listings: `kind==active,labels."a/b"==c`.
 *
 * ```
 * filter   = selector { "," selector }       all must match; of several filters, one
 * selector = path [ operator value ]         without operator: the field is there
 * path     = field { "." field }             name, parent, kind, labels.KEY
 * field    = quoted | letters, digits, "-", "_"
 * operator = "==" | "!=" | "~="              equal, not equal, matches a regular expression
 * value    = quoted | anything but spaces and commas; for "~=" also between "/" or "|"
 * quoted   = string literal of Go
 * ```
 * Source: containerd 2, pkg/filters. Regular expressions are the runtime's own, which differ from Go's in rare syntax; an
 * invalid one matches nothing.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import type { Snapshot } from "./snapshot_record.ts";

type Operator = "==" | "!=" | "~=";

interface Selector {
  readonly path: readonly string[];
  readonly operator: Operator | undefined;
  readonly matches: (value: string | undefined) => boolean;
}

/** What a filter looks at. */
export type Filtered = Pick<Snapshot, "name" | "parent" | "kind" | "labels">;

/**
 * Returns whether a snapshot matches one of the filters; without filters, every one does.
 *
 * @throws {NydusGdError} "usage" for invalid syntax
 */
export function parseFilters(filters: readonly string[]): (snapshot: Filtered) => boolean {
  if (filters.length === 0) return () => true;
  const parsed = filters.map((text) => new FilterText(text).selectors());
  return (snapshot) => parsed.some((all) => all.every(({ path, matches }) => matches(fieldOf(snapshot, path))));
}

function fieldOf(snapshot: Filtered, [first, ...rest]: readonly string[]): string | undefined {
  if (first === "labels") {
    const key = rest.join(".");
    return snapshot.labels.find(([name]) => name === key)?.[1];
  }
  return first === "name" || first === "parent" || first === "kind" ? snapshot[first] : undefined;
}

/** A filter being parsed. */
class FilterText {
  #at = 0;

  constructor(private readonly text: string) {}

  /** An empty filter has no selectors and matches everything. */
  selectors(): Selector[] {
    const selectors: Selector[] = [];
    if (this.text === "") return selectors;
    do selectors.push(this.#selector()); while (this.#take(/\s*,/y) !== undefined);
    if (this.#take(/\s*$/y) === undefined) this.#refuse("expected a comma");
    return selectors;
  }

  #selector(): Selector {
    const path = [this.#field()];
    while (this.#take(/\./y) !== undefined) path.push(this.#field());
    const operator = this.#take(/\s*[=!~]+/y)?.trim();
    if (operator === undefined) return { path, operator, matches: (value) => value !== undefined };
    if (operator !== "==" && operator !== "!=" && operator !== "~=") this.#refuse(`there is no operator ${operator}`);
    return { path, operator, matches: matcher(operator, this.#value(operator)) };
  }

  #field(): string {
    const plain = this.#take(/\s*[A-Za-z0-9_-]+/y);
    return plain?.trim() ?? this.#quoted() ?? this.#refuse("expected the name of a field");
  }

  #value(operator: Operator): string {
    const quoted = this.#quoted();
    if (quoted !== undefined) return quoted;
    const alternative = operator === "~="
      ? this.#take(/\s*(?:\/(?:[^/\\\n]|\\.)*\/|\|(?:[^|\\\n]|\\.)*\|)/y)
      : undefined;
    if (alternative !== undefined) return this.#unescaped(alternative.trim());
    return this.#take(/\s*[^\s,"][^\s,]*/y)?.trim() ?? this.#refuse("expected a value");
  }

  #quoted(): string | undefined {
    const literal = this.#take(/\s*"(?:[^"\\\n]|\\.)*"/y);
    return literal === undefined ? undefined : this.#unescaped(literal.trim());
  }

  #unescaped(literal: string): string {
    return unescapeGo(literal.slice(1, -1), literal[0] ?? "") ?? this.#refuse(`invalid escape in ${literal}`);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #refuse(state: string): never {
    throw new NydusGdError("usage", `Cannot parse filter ${JSON.stringify(this.text)} at ${this.#at}: ${state}`);
  }
}

function matcher(operator: Operator, wanted: string): (value: string | undefined) => boolean {
  if (operator === "==") return (value) => value === wanted;
  if (operator === "!=") return (value) => (value ?? "") !== wanted;
  const pattern = regularExpression(wanted);
  return (value) => pattern?.test(value ?? "") ?? false;
}

function regularExpression(text: string): RegExp | undefined {
  try {
    return new RegExp(text, "u");
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const SIMPLE_ESCAPES: Readonly<Record<string, number>> = {
  a: 0x07,
  b: 0x08,
  f: 0x0c,
  n: 0x0a,
  r: 0x0d,
  t: 0x09,
  v: 0x0b,
  "\\": 0x5c,
};

const GO_ESCAPE = /\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|[^\\]+/gsu;

/** Content of a string literal of Go, whose escapes can be bytes of UTF-8; undefined for an invalid one. */
function unescapeGo(content: string, quote: string): string | undefined {
  const encoder = new TextEncoder();
  const bytes: number[] = [];
  for (const [piece, hex, octal, short, long, simple] of content.matchAll(GO_ESCAPE)) {
    const byte = hex !== undefined ? parseInt(hex, 16) : octal !== undefined ? parseInt(octal, 8) : undefined;
    const point = short ?? long;
    if (byte !== undefined) {
      if (byte > 0xff) return undefined;
      bytes.push(byte);
    } else if (point !== undefined) {
      const code = parseInt(point, 16);
      if (code > 0x10ffff) return undefined;
      bytes.push(...encoder.encode(String.fromCodePoint(code)));
    } else if (simple !== undefined) {
      const code = simple === quote ? simple.charCodeAt(0) : SIMPLE_ESCAPES[simple];
      if (code === undefined) return undefined;
      bytes.push(code);
    } else bytes.push(...encoder.encode(piece));
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

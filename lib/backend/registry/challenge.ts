/**
 * Parser of WWW-Authenticate.
 *
 * ```
 * Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push", Basic realm="x"
 * ```
 * One header may hold several challenges, and a quoted string may hold commas and escaped quotes. Source: RFC 9110
 * section 11.6.1; the distribution project's token specification.
 *
 * @module
 */

/** One challenge. */
export interface Challenge {
  /** Lower case: "basic", "bearer". */
  readonly scheme: string;
  /** Unquoted values by lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Maximum length of a header; a longer one is ignored. */
const MAX_HEADER = 16 * 1024;

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const PARAMETER = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))/y;
const SEPARATORS = /[ \t,]*/y;
const TOKEN68 = /[ \t]+[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;

/** Returns the challenges in order. Stops at malformed text and never throws. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > MAX_HEADER) return challenges;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(SEPARATORS);
    const scheme = take(TOKEN)?.[0];
    if (scheme === undefined) return challenges;
    const parameters = new Map<string, string>();
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
    if (take(TOKEN68) !== undefined) continue;
    for (;;) {
      const before = at;
      take(SEPARATORS);
      const match = take(PARAMETER);
      if (match === undefined) {
        // The rest is the next challenge, or the end.
        at = before;
        break;
      }
      const [, name = "", quoted, plain = ""] = match;
      const key = name.toLowerCase();
      if (!parameters.has(key)) parameters.set(key, quoted === undefined ? plain : quoted.replace(/\\(.)/g, "$1"));
    }
  }
}

/**
 * Where a key is in the text of a TOML file, for messages: parsers do not tell.
 *
 * @module
 */

/**
 * Line number, from 1, of the key `section.key`: `key =` below `[section]`, `section.key =`, or the section itself;
 * undefined if none is found.
 */
export function lineOf(toml: string, name: string): number | undefined {
  const [section = "", wanted] = name.split(".");
  let table = "";
  let sectionLine: number | undefined;
  for (const [index, line] of toml.split("\n").entries()) {
    const header = /^\s*\[+\s*([^\]]+?)\s*\]/.exec(line);
    if (header !== null) {
      table = unquote(header[1] ?? "");
      if (table === section || table.startsWith(`${section}.`)) sectionLine ??= index + 1;
      if (wanted !== undefined && table === name) return index + 1;
      continue;
    }
    const assignment = /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(line);
    if (assignment === null) continue;
    const full = `${table === "" ? "" : `${table}.`}${unquote(assignment[1] ?? "")}`;
    if (full === name || full.startsWith(`${name}.`)) return index + 1;
    if (full === section) sectionLine ??= index + 1;
  }
  return sectionLine;
}

/** `"a" . 'b'` is `a.b`. */
function unquote(word: string): string {
  return word.split(".").map((part) => part.trim().replace(/^(["'])(.*)\1$/, "$2")).join(".");
}

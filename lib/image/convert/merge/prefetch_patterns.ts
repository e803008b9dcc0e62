/**
 * Files that an image marks for prefetch: path patterns, one per line.
 *
 * `/usr/bin/app` matches that file, or everything below that folder; `*` matches anything but a slash, `**` anything,
 * `?` one character. Empty lines and lines that start with `#` are ignored. The order of the list is not kept: files
 * are fetched in the order of the blob.
 *
 * @module
 */
import { type ByteString, toByteString } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";

/** A longer list amounts to "everything". */
const MAX_PATTERNS = 100_000;

/** Matches paths against the patterns of a list. */
export class PrefetchPatterns {
  readonly #exact = new Set<ByteString>();
  readonly #globs: RegExp[] = [];

  /** @throws {NydusGdError} "usage" for a pattern that is not an absolute path */
  constructor(text: string) {
    const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
    if (lines.length > MAX_PATTERNS) throw refuse(`there are ${lines.length}, ${MAX_PATTERNS} at most`);
    for (const line of lines) {
      if (!line.startsWith("/")) throw refuse(`${JSON.stringify(line.slice(0, 200))} does not begin with a slash`);
      const path = toByteString(new TextEncoder().encode(line.length > 1 ? line.replace(/\/+$/, "") || "/" : line));
      if (/[*?]/.test(path)) this.#globs.push(globOf(path));
      else this.#exact.add(path);
    }
  }

  /** @param path absolute; a matching folder includes everything below it, which need not be checked */
  matches(path: ByteString): boolean {
    return this.#exact.has(path) || this.#globs.some((glob) => glob.test(path));
  }
}

function globOf(path: ByteString): RegExp {
  const source = path.replace(/\*\*|[*?]|[^*?]+/g, (part) => {
    if (part === "**") return "[^]*";
    if (part === "*") return "[^/]*";
    return part === "?" ? "[^/]" : part.replace(/[\\^$.|+()[\]{}]/g, "\\$&");
  });
  return new RegExp(`^${source}$`);
}

function refuse(state: string): NydusGdError {
  return new NydusGdError("usage", `Cannot read prefetch patterns: ${state}`, { hint: "absolute paths, one a line" });
}

/**
 * Lists this repository's own source files: those that git would track, determined without git.
 *
 * @module
 */
import { join } from "node:path/posix";

/** Root of the repository, without a trailing slash. */
export const ROOT = decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** Generated or third-party files. */
const SKIPPED = new Set([".git", ".tools", "node_modules", "dist", "tests/fixtures", "bench/results"]);

/** Paths relative to the root, sorted. */
export async function sourceFiles(folder = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(join(ROOT, folder))) {
    const path = join(folder, entry.name);
    if (SKIPPED.has(path)) continue;
    if (entry.isDirectory) found.push(...await sourceFiles(path));
    else if (entry.isFile) found.push(path);
  }
  return found.sort();
}

/** The text of such a file. */
export function readSource(path: string): Promise<string> {
  return Deno.readTextFile(join(ROOT, path));
}

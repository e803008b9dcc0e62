/**
 * The files of this repository that are ours: what git would track, without asking git.
 *
 * @module
 */
import { join } from "node:path/posix";

/** Root of the repository, without a slash at its end. */
export const ROOT = decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** Made by tools, or taken over from elsewhere. */
const SKIPPED = new Set([".git", ".tools", "node_modules", "dist", "tests/fixtures", "bench/results"]);

/** Paths relative to the root, in order. */
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

/**
 * Small JSON files that must survive a power cut: written aside, synced, renamed over the old one.
 *
 * @module
 */
import { dirname } from "node:path";
import { open } from "node:fs/promises";
import { ignore } from "./errors.ts";

/** The parsed content, undefined where there is no such file. Throws SyntaxError on text that is no JSON. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await ignore(Deno.errors.NotFound, Deno.readTextFile(path));
  return text === undefined ? undefined : JSON.parse(text);
}

/** Replaces the file at once and for good: a reader, or a reboot, sees the old content or the new. Mode 0600. */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  const aside = `${path}.tmp`;
  const file = await open(aside, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify(value) + "\n");
    await file.sync();
  } finally {
    await file.close();
  }
  await Deno.rename(aside, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

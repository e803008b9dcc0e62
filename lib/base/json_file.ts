/**
 * Small JSON files that are replaced at once: written aside, synced where they must survive a power cut, renamed over the
 * old one.
 *
 * Writers of one file in this process take turns, in the order of their calls; between processes the file has one owner.
 * A crash can leave `<file>.tmp` behind, which the next write replaces and nobody reads.
 *
 * @module
 */
import { dirname } from "node:path";
import { open } from "node:fs/promises";
import { ignore } from "./errors.ts";
import { KeyedMutex } from "./keyed_mutex.ts";

/** What a file outlives: where nothing of it counts after a reboot, nobody waits for the disk. */
export type Outlives = "reboot" | "process";

/** By path: two writers would share the file that is written aside. */
const writing = new KeyedMutex<string>();

/** The parsed content, undefined where there is no such file. Throws SyntaxError on text that is no JSON. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await ignore(Deno.errors.NotFound, Deno.readTextFile(path));
  return text === undefined ? undefined : JSON.parse(text);
}

/**
 * Replaces the file at once and for good: a reader, or a reboot that it outlives, sees the old content or the new. Mode
 * 0600. `value` is taken as it is at the call. A failure leaves the old content.
 */
export async function writeJsonFile(path: string, value: unknown, outlives: Outlives = "reboot"): Promise<void> {
  const text = JSON.stringify(value) + "\n";
  await writing.run(path, () => replace(path, text, outlives));
}

async function replace(path: string, text: string, outlives: Outlives): Promise<void> {
  const isSynced = outlives === "reboot";
  const aside = `${path}.tmp`;
  try {
    const file = await open(aside, "w", 0o600);
    try {
      await file.writeFile(text);
      if (isSynced) await file.sync();
    } finally {
      await file.close();
    }
    await Deno.rename(aside, path);
  } catch (error) {
    await ignore(Error, Deno.remove(aside)); // what failed first is what counts
    throw error;
  }
  if (!isSynced) return;
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * The kernel's reference counts per image, passed from a stopping server to the one that takes over its session.
 *
 * ```
 * <stateDir>/fuse-references.json    [[image number, references], …]
 * ```
 * Written when no thread serves any more, and removed before one serves again. The counts of a server that was killed
 * are never passed on, because replies under way may have changed them.
 *
 * @module
 */
import * as v from "valibot";
import { ignore, messageOf } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";

const log = logger("mount", "fuse");

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Counts = v.array(v.tuple([count, count]));

/** References by image number. */
export type ReferenceCounts = ReadonlyMap<number, number>;

/**
 * Writes the counts for the next server. A failure is only logged: without counts the next server keeps images longer.
 */
export async function leaveReferences(stateDir: string, counts: ReferenceCounts): Promise<void> {
  const path = pathIn(stateDir);
  try {
    await writeJsonFile(path, [...counts], "process");
  } catch (error) {
    log.warn("references of images not left", { path, reason: messageOf(error) });
  }
}

/** Reads and removes the counts of the previous server. Empty if it was killed or the file is damaged. */
export async function takeReferences(stateDir: string): Promise<ReferenceCounts> {
  const path = pathIn(stateDir);
  try {
    return new Map(v.parse(Counts, await readJsonFile(path) ?? []));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof v.ValiError)) throw error;
    log.warn("references of images are not known", { path, reason: messageOf(error) });
    return new Map();
  } finally {
    await ignore(Deno.errors.NotFound, Deno.remove(path));
  }
}

function pathIn(stateDir: string): string {
  return `${stateDir}/fuse-references.json`;
}

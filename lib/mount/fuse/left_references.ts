/**
 * How often the kernel refers to each image, told by a server that stops to the one that takes its session over.
 *
 * ```
 * <stateDir>/fuse-references.json    [[image number, references], …]
 * ```
 * Written when no thread serves any more, taken away before one serves again: counts of a server that was killed are never
 * told, as what it was about to answer may have changed them.
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

/** Leaves them to the next server. Without them it keeps images longer: that they cannot be written is only told. */
export async function leaveReferences(stateDir: string, counts: ReferenceCounts): Promise<void> {
  const path = pathIn(stateDir);
  try {
    await writeJsonFile(path, [...counts], "process");
  } catch (error) {
    log.warn("references of images not left", { path, reason: messageOf(error) });
  }
}

/** What the server before has left, once. Nothing where it was killed, or the file is damaged. */
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

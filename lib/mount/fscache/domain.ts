/**
 * The domain of our images in the kernel's cache: the unit of sharing, and a directory of the cache.
 *
 * When the last holder of the device dies, mounts of the domain are dead for good, and so is everything they have in
 * use: a new image that shared it would be dead, too. From then on another domain is used. Data cached by the former
 * one are culled like any unused files.
 *
 * @module
 */
import * as v from "valibot";
import { readJsonFile, timeAfterChange, writeJsonFile } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";

const log = logger("mount", "fscache");

/** How often a new domain was needed. */
const Note = v.object({ generation: v.pipe(v.number(), v.integer(), v.minValue(0)) });

/** Returns the name of the current domain. */
export async function domainOf(stateDir: string): Promise<string> {
  const generation = await generationOf(stateDir);
  return generation === 0 ? "nydus-gd" : `nydus-gd.${generation}`;
}

/** Abandons the current domain: {@link domainOf} returns another one from now on. */
export async function leaveDomain(stateDir: string): Promise<void> {
  await writeJsonFile(notePath(stateDir), { generation: await generationOf(stateDir) + 1 });
}

/** Returns the volume name of a domain, as in kernel messages. */
export function volumeOf(domain: string): string {
  return `erofs,${domain}`;
}

async function generationOf(stateDir: string): Promise<number> {
  const path = notePath(stateDir);
  try {
    const document = await readJsonFile(path);
    return document === undefined ? 0 : v.parse(Note, document).generation;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof v.ValiError)) throw error;
    const generation = await timeAfterChange(path); // more than were ever left, since leaving takes a dead server
    await writeJsonFile(path, { generation });
    log.warn("the domain of the kernel's cache is not known any more, using another", { path, generation });
    return generation;
  }
}

function notePath(stateDir: string): string {
  return `${stateDir}/fscache-domain.json`;
}

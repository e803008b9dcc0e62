/**
 * The domain of our images in the kernel's cache: what shares data, and a folder of what is cached.
 *
 * When every holder of the device has died, mounts of the domain are dead for good, and so is all that they have in
 * use: a new image that shares it would be, too. From then on there is another domain. What the former had cached leaves
 * the disk as all that nobody uses.
 *
 * @module
 */
import * as v from "valibot";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";

/** How often there was need of another one. */
const Note = v.object({ generation: v.pipe(v.number(), v.integer(), v.minValue(0)) });

/** Name of the domain now. */
export async function domainOf(stateDir: string): Promise<string> {
  const generation = await generationOf(stateDir);
  return generation === 0 ? "nydus-gd" : `nydus-gd.${generation}`;
}

/** The domain is dead: {@link domainOf} has another answer from now on. */
export async function leaveDomain(stateDir: string): Promise<void> {
  await writeJsonFile(notePath(stateDir), { generation: await generationOf(stateDir) + 1 });
}

/** Name of a domain for the kernel's messages. */
export function volumeOf(domain: string): string {
  return `erofs,${domain}`;
}

async function generationOf(stateDir: string): Promise<number> {
  const note = v.safeParse(Note, await readJsonFile(notePath(stateDir)));
  return note.success ? note.output.generation : 0;
}

function notePath(stateDir: string): string {
  return `${stateDir}/fscache-domain.json`;
}

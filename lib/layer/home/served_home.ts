/**
 * Which home a graph driver serves, as it notes for its next start and for commands: `<state>/graph-driver.json`.
 *
 * @module
 */
import * as v from "valibot";
import { TwofoldFile } from "../../base/twofold_file.ts";

/** What to do if the note is lost: dockerd says it anew. */
export const HOME_REMEDY = "systemctl restart docker";

/** Path of the note. */
export function servedHomePath(stateDir: string): string {
  return `${stateDir}/graph-driver.json`;
}

/**
 * Returns the home; undefined if dockerd has never called.
 *
 * @throws {NydusGdError} "corrupt" if note and copy are damaged, "io" if they cannot be read; with a hint
 */
export async function servedHome(stateDir: string): Promise<string | undefined> {
  const file = new TwofoldFile(servedHomePath(stateDir), v.object({ home: v.string() }), HOME_REMEDY);
  return (await file.read())?.home;
}

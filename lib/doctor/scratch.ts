/**
 * Folders that a check works in: on the file system in question, gone when the check has ended.
 *
 * @module
 */
import { dirname } from "node:path";
import { ignore } from "../base/errors.ts";

/** A folder that is there as long as it is used. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a folder in `folder`, or where that is missing in the nearest one above it: on the file system that it would be
 * on.
 */
export async function scratchIn(folder: string, what: string): Promise<Scratch> {
  const path = await Deno.makeTempDir({ dir: await nearestFolder(folder), prefix: `.nydus-gd-doctor-${what}-` });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** `folder`, or the nearest one above it that is there. Absolute. */
export async function nearestFolder(folder: string): Promise<string> {
  const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(folder));
  return info?.isDirectory || folder === "/" ? folder : await nearestFolder(dirname(folder));
}

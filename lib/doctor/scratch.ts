/**
 * Scratch directories of checks: on the file system in question, removed at the end of the check.
 *
 * @module
 */
import { dirname } from "node:path";
import { ignore } from "../base/errors.ts";

/** A directory that exists until disposal. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/**
 * Creates a directory in `folder` or, if that is missing, in its nearest existing parent, which is on the same file
 * system.
 */
export async function scratchIn(folder: string, what: string): Promise<Scratch> {
  const path = `${await nearestFolder(folder)}/.nydus-gd-doctor-${what}-${crypto.randomUUID()}`;
  await Deno.mkdir(path, { mode: 0o700 });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Returns `folder` or its nearest existing parent. Absolute. */
export async function nearestFolder(folder: string): Promise<string> {
  const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(folder));
  return info?.isDirectory || folder === "/" ? folder : await nearestFolder(dirname(folder));
}

/**
 * Checks for a directory made earlier, which is complete if it exists.
 *
 * @module
 */
import { ignore } from "../../lib/base/errors.ts";

/** Whether `path` is a directory. */
export async function isFolder(path: string): Promise<boolean> {
  return (await ignore(Deno.errors.NotFound, Deno.stat(path)))?.isDirectory ?? false;
}

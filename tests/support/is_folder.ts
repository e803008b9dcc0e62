/**
 * What was made before, complete when it is there.
 *
 * @module
 */
import { ignore } from "../../lib/base/errors.ts";

/** Whether there is a folder. */
export async function isFolder(path: string): Promise<boolean> {
  return (await ignore(Deno.errors.NotFound, Deno.stat(path)))?.isDirectory ?? false;
}

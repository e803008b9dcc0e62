/**
 * Makes the folders of a program's own files.
 *
 * @module
 */
import { NydusGdError } from "./errors.ts";

/**
 * Makes a folder with mode 0700, and those above it, unless they exist.
 *
 * @throws {NydusGdError} "io" if something else has its name, with a hint
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new NydusGdError("io", `Cannot make folder "${path}": something else has its name`, {
      hint: `mv ${path} ${path}.aside`,
      cause: error,
    });
  }
}

/**
 * Replaces a file under its name in one step: readers, or a reboot, see the old content or the new.
 *
 * The new content is written to `<file>.tmp`, synced if it must survive a power failure, and renamed. A crash can leave
 * that file behind, which is never read and is replaced by the next write. Writers of one file must take turns.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { O, open as openFd } from "../../ffi/fcntl.ts";
import { fdatasync, writeAll } from "../../ffi/unistd.ts";
import { syncFolder } from "./durable.ts";
import { ignore } from "./errors.ts";

/** What the file must survive. Content that is meaningless after a reboot is not synced to disk. */
export type Outlives = "reboot" | "process";

/** Appended to the name of a file for its new content, until that is complete. */
export const ASIDE = ".tmp";

/**
 * Creates or replaces a file, mode 0600.
 *
 * @throws {Error} the disk's error; the old content is left then, or, if only the folder could not be synced, the new
 */
export async function replaceFile(path: string, content: string | Uint8Array, outlives: Outlives): Promise<void> {
  const aside = path + ASIDE;
  await ignore(Deno.errors.NotFound, Deno.remove(aside));
  const file = await open(aside, "wx", 0o600); // never through a link
  try {
    try {
      await file.writeFile(content);
      if (outlives === "reboot") await file.sync();
    } finally {
      await file.close();
    }
    await Deno.rename(aside, path);
  } catch (error) {
    await ignore(Error, Deno.remove(aside)); // the first error is the one to report
    throw error;
  }
  if (outlives === "reboot") await syncFolder(dirname(path));
}

/**
 * Like {@link replaceFile} for Workers, from pieces, and for files that can be made again: the content is on disk then,
 * so that a name never leads to zeros, but a power failure may undo the replacement. Who has the old file open, as a
 * mounted image has, keeps it.
 *
 * @throws {Error} the disk's error
 */
export function replaceFileSync(path: string, pieces: readonly Uint8Array[]): void {
  const aside = path + ASIDE;
  try {
    {
      using file = openFd(aside, O.WRONLY | O.CREAT | O.TRUNC | O.NOFOLLOW, 0o600);
      for (const piece of pieces) writeAll(file, piece);
      fdatasync(file);
    }
    Deno.renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true }); // a full disk has no room for it
    throw error;
  }
}

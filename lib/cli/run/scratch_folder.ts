/**
 * A temporary folder of a command.
 *
 * A lock tells folders in use from those of killed commands, which the next command removes.
 *
 * @module
 */
import { join } from "node:path";
import { LOCK } from "../../../ffi/sys_file.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { stateOf } from "../../base/error_report.ts";
import type { FileLock } from "../../base/file_lock.ts";
import { lockFolder, removeUnlocked } from "../../base/folder_lock.ts";

/** Default parent folder, overridden by TMPDIR. The content may be as large as an image. */
const DEFAULT_PARENT = "/var/tmp";

const PREFIX = "nydus-gd-scratch-";

/**
 * Age from which a folder without a lock is abandoned: a new one is locked in less. One that was made in the future,
 * by a clock that was ahead, is abandoned, too.
 */
const ABANDONED_MS = 60_000;

/** A temporary folder. Disposing removes it with its content. */
export class ScratchFolder implements AsyncDisposable {
  private constructor(readonly path: string, private readonly lock: FileLock) {}

  /** @throws {NydusGdError} "io" */
  static async make(dir = Deno.env.get("TMPDIR") || DEFAULT_PARENT): Promise<ScratchFolder> {
    try {
      const path = await Deno.makeTempDir({ dir, prefix: PREFIX });
      const folder = new ScratchFolder(path, lockFolder(path, LOCK.EX));
      await removeAbandoned(dir);
      return folder;
    } catch (cause) {
      throw new NydusGdError("io", `Cannot make a folder in ${dir}: ${stateOf(cause)}`, { hint: "TMPDIR=…", cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    using _lock = this.lock;
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Others may make names in the same folder: what is not this user's own is left alone. */
async function removeAbandoned(parent: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(parent)) {
    if (!isDirectory || !name.startsWith(PREFIX)) continue;
    const path = join(parent, name);
    const info = await ignore(Deno.errors.NotFound, Deno.lstat(path));
    if (info?.uid !== Deno.uid() || awayMs(info) < ABANDONED_MS) continue;
    await removeUnlocked(path);
  }
}

/** Milliseconds between the last change and now, whichever is later. */
function awayMs({ mtime }: Deno.FileInfo): number {
  const now = Date.now();
  return Math.abs(now - (mtime?.getTime() ?? now));
}

/**
 * A folder for what a command needs on disk while it runs.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../../base/errors.ts";

/** Where it is unless TMPDIR says otherwise: what is kept there may be as large as an image. */
const DEFAULT_PARENT = "/var/tmp";

/** Disposing removes it with all that is in it. */
export class ScratchFolder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  /** @throws {NydusGdError} "io" */
  static async make(): Promise<ScratchFolder> {
    const dir = Deno.env.get("TMPDIR") || DEFAULT_PARENT;
    try {
      return new ScratchFolder(await Deno.makeTempDir({ dir, prefix: "nydus-gd-" }));
    } catch (cause) {
      throw new NydusGdError("io", `Cannot make a folder in ${dir}: ${messageOf(cause)}`, { hint: "TMPDIR=…", cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

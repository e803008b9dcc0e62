/**
 * A temporary folder of a command.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../../base/errors.ts";

/** Default parent folder, overridden by TMPDIR. The content may be as large as an image. */
const DEFAULT_PARENT = "/var/tmp";

/** A temporary folder. Disposing removes it with its content. */
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

/**
 * Image files for the kernel, one per image. They are kept, so that a mount has to make its own only if it does not
 * exist yet.
 *
 * @module
 */
import { ignore } from "../../base/errors.ts";
import type { MountableImage } from "../image_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";

/** The image files in one state directory, the same as that of `ImageMounts`. */
export class KernelImages {
  constructor(private readonly stateDir: string) {}

  /**
   * Makes the file that a mount by EROFS will need, unless it exists. The bootstrap must stay mapped meanwhile.
   *
   * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "io"
   */
  async prepare({ name, bootstrap }: Pick<MountableImage, "name" | "bootstrap">): Promise<void> {
    using tasks = new ErofsTasks();
    await tasks.keep(bootstrap, imagePath(this.stateDir, { name }));
  }

  /** Removes the file of an image that will not be mounted any more. */
  async forget(name: string): Promise<void> {
    await ignore(Deno.errors.NotFound, Deno.remove(imagePath(this.stateDir, { name })));
  }
}

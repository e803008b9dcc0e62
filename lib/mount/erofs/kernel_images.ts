/**
 * Images for the kernel, one for each image that was mounted or is to be: they are kept, so that a mount waits for its
 * own only where nobody made it before.
 *
 * @module
 */
import { ignore } from "../../base/errors.ts";
import type { MountableImage } from "../image_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";

/** Those in one state folder, which goes to `ImageMounts` as well. */
export class KernelImages {
  constructor(private readonly stateDir: string) {}

  /**
   * Makes the image that a mount by way of EROFS will need, unless it is there. The bootstrap must stay mapped meanwhile.
   *
   * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "io"
   */
  async prepare({ name, bootstrap }: Pick<MountableImage, "name" | "bootstrap">): Promise<void> {
    using tasks = new ErofsTasks();
    await tasks.keep(bootstrap, imagePath(this.stateDir, { name }));
  }

  /** The image is not to be mounted any more. */
  async forget(name: string): Promise<void> {
    await ignore(Deno.errors.NotFound, Deno.remove(imagePath(this.stateDir, { name })));
  }
}

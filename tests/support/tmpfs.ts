/**
 * A file system in memory on a folder of its own: it takes extended attributes of any size, which ext4 does not.
 *
 * @module
 */
import { MNT, mount, umount2 } from "../../ffi/sys_mount.ts";
import { TempDir } from "./temp_dir.ts";

/** `using temp = new Tmpfs();` mounts it, and takes it away with all that is in it. Needs root. */
export class Tmpfs implements Disposable {
  readonly #temp = TempDir.make();

  constructor() {
    mount("none", this.path, "tmpfs", 0, "mode=0755");
  }

  get path(): string {
    return this.#temp.path;
  }

  /** The path of a name in it. */
  join(name: string): string {
    return this.#temp.join(name);
  }

  [Symbol.dispose](): void {
    umount2(this.path, MNT.DETACH);
    this.#temp[Symbol.dispose]();
  }
}

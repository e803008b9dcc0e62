/**
 * A tmpfs on a directory of its own: unlike ext4, it supports extended attributes of any size.
 *
 * @module
 */
import { MNT, mount, umount2 } from "../../ffi/sys_mount.ts";
import { TempDir } from "./temp_dir.ts";

/** `using temp = new Tmpfs();` mounts it, and unmounts it with its content. Requires root. */
export class Tmpfs implements Disposable {
  readonly #temp = TempDir.make();

  /** @param limits as in tmpfs(5): "nr_inodes=60" */
  constructor(limits = "") {
    mount("none", this.path, "tmpfs", 0, `mode=0755${limits && `,${limits}`}`);
  }

  get path(): string {
    return this.#temp.path;
  }

  /** Path of a name in it. */
  join(name: string): string {
    return this.#temp.join(name);
  }

  [Symbol.dispose](): void {
    umount2(this.path, MNT.DETACH);
    this.#temp[Symbol.dispose]();
  }
}

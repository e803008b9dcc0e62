/**
 * What a file that was just made is already: where the tar asks for that, the call that would set it is left out.
 *
 * A new file belongs to this process; its group is the folder's where that has setgid or the mount is grpid; its mode
 * is the one it was made with, less the umask, unless the folder has a default ACL. So the shortcut holds while all
 * folders belong to group 0 without setgid and none has a default ACL: a folder that does ends it for the whole layer.
 *
 * Source: inode_init_owner() in fs/inode.c, posix_acl_create() in fs/posix_acl.c, Linux 6.18.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { procFdPath } from "../../ffi/fd.ts";
import { fstat, S } from "../../ffi/sys_stat.ts";
import { listxattr } from "../../ffi/sys_xattr.ts";
import { geteuid } from "../../ffi/unistd.ts";
import type { TarEntry } from "../archive/tar.ts";
import { type ByteString, toByteString } from "../base/bytes.ts";

const DEFAULT_ACL = "system.posix_acl_default";
const PERMISSIONS = 0o777;

/** Knows, for one layer, what new files get by themselves. */
export class NewFiles {
  /** New files belong to 0:0. */
  #rootOwned: boolean;
  /** New files have the mode that they are made with, less the umask. */
  #plainModes: boolean;
  readonly #umask: number;

  /** @param root the folder that the layer is unpacked into */
  constructor(root: Fd) {
    const { mode, gid } = fstat(root);
    this.#rootOwned = geteuid() === 0 && isPlainFolder(mode, gid);
    this.#plainModes = !listxattr(procFdPath(root)).some((name) => toByteString(name) === DEFAULT_ACL);
    this.#umask = readUmask();
  }

  /** A folder gets these attributes: what is made in it may take after it. */
  folder(mode: number, gid: number, xattrs: Iterable<ByteString>): void {
    if (!isPlainFolder(mode, gid)) this.#rootOwned = false;
    for (const name of xattrs) if (name === DEFAULT_ACL) this.#plainModes = false;
  }

  /** Whether a new file has the entry's owner. */
  hasOwner({ uid, gid }: TarEntry): boolean {
    return this.#rootOwned && uid === 0 && gid === 0;
  }

  /**
   * The mode to make a file with.
   *
   * @returns `mode` itself where the file has it then
   */
  creationMode(entry: TarEntry): number {
    const exact = this.#plainModes && this.hasOwner(entry) && (entry.mode & (~PERMISSIONS | this.#umask)) === 0;
    return exact ? entry.mode : 0o600;
  }
}

function isPlainFolder(mode: number, gid: number): boolean {
  return gid === 0 && (mode & S.ISGID) === 0;
}

/** The umask, without setting it: it is the whole process's. All bits where /proc does not tell. */
function readUmask(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return parseInt(/^Umask:\s*([0-7]+)$/m.exec(status)?.[1] ?? "777", 8);
}

/**
 * Attributes that a new file has by itself; calls that would set the same values are skipped.
 *
 * A new file belongs to this process; its group is the folder's if that has setgid or the mount is grpid; its mode is
 * the one it was created with, less the umask, unless the folder has a default ACL. So calls can be skipped while all
 * folders belong to group 0 without setgid and none has a default ACL. Any other folder ends this for the whole layer.
 *
 * Source: inode_init_owner() in fs/inode.c, posix_acl_create() in fs/posix_acl.c, Linux 6.18.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { procFdPath } from "../../../ffi/fd.ts";
import { fstat, S } from "../../../ffi/sys_stat.ts";
import { listxattr } from "../../../ffi/sys_xattr.ts";
import { geteuid } from "../../../ffi/unistd.ts";
import type { TarEntry } from "../../archive/tar.ts";
import { type ByteString, toByteString } from "../../base/bytes.ts";

const DEFAULT_ACL = "system.posix_acl_default";
const PERMISSIONS = 0o777;

/** Tracks, for one layer, the attributes that new files get by themselves. */
export class NewFiles {
  /** New files belong to 0:0. */
  #rootOwned: boolean;
  /** New files get the mode they are created with, less the umask. */
  #plainModes: boolean;
  readonly #umask: number;

  /** @param root the folder that the layer is unpacked into */
  constructor(root: Fd) {
    const { mode, gid } = fstat(root);
    this.#rootOwned = geteuid() === 0 && isPlainFolder(mode, gid);
    this.#plainModes = !listxattr(procFdPath(root)).some((name) => toByteString(name) === DEFAULT_ACL);
    this.#umask = readUmask();
  }

  /** Notes attributes of a folder, which files created in it may inherit. */
  folder(mode: number, gid: number, xattrs: Iterable<ByteString>): void {
    if (!isPlainFolder(mode, gid)) this.#rootOwned = false;
    for (const name of xattrs) if (name === DEFAULT_ACL) this.#plainModes = false;
  }

  /** Whether a new file already has the entry's owner. */
  hasOwner({ uid, gid }: TarEntry): boolean {
    return this.#rootOwned && uid === 0 && gid === 0;
  }

  /**
   * The mode to create a file with.
   *
   * @returns `mode` itself if the file will have it
   */
  creationMode(entry: TarEntry): number {
    const exact = this.#plainModes && this.hasOwner(entry) && (entry.mode & (~PERMISSIONS | this.#umask)) === 0;
    return exact ? entry.mode : 0o600;
  }
}

function isPlainFolder(mode: number, gid: number): boolean {
  return gid === 0 && (mode & S.ISGID) === 0;
}

/** Reads the umask without setting it, since it is process-wide. All bits set if /proc does not tell. */
function readUmask(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return parseInt(/^Umask:\s*([0-7]+)$/m.exec(status)?.[1] ?? "777", 8);
}

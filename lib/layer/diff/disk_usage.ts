/**
 * The space that a tree takes on its file system, as containerd counts it: the root and everything below, each inode
 * once.
 *
 * @module
 */
import { readDirectory } from "../../../ffi/dirent.ts";
import { AT, O, open, openat } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { fstat, S, type Stat, statat } from "../../../ffi/sys_stat.ts";
import { ifPresent } from "./changes_view.ts";

/** Unit of st_blocks. */
const BLOCK_BYTES = 512;

/** Space on disk. */
export interface DiskUsage {
  readonly bytes: number;
  readonly inodes: number;
}

/** Counts a tree. What disappears meanwhile is not counted. */
export function diskUsage(folder: string): DiskUsage {
  const sum = new UsageSum();
  using root = open(folder, O.RDONLY | O.DIRECTORY);
  sum.add(fstat(root));
  addFolder(sum, root);
  return { bytes: sum.bytes, inodes: sum.inodes };
}

function addFolder(sum: UsageSum, folder: Fd): void {
  for (const { name } of [...readDirectory(folder)]) {
    const stat = ifPresent(() => statat(folder, name, AT.SYMLINK_NOFOLLOW));
    if (stat === undefined) continue;
    sum.add(stat);
    if ((stat.mode & S.IFMT) !== S.IFDIR) continue;
    using inner = ifPresent(() => openat(folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW));
    if (inner !== undefined) addFolder(sum, inner);
  }
}

class UsageSum {
  bytes = 0;
  inodes = 0;
  /** Inodes with several names that were counted. */
  readonly #linked = new Set<number | bigint>();

  add({ ino, nlink, mode, blocks }: Stat): void {
    if (nlink > 1 && (mode & S.IFMT) !== S.IFDIR) {
      if (this.#linked.has(ino)) return;
      this.#linked.add(ino);
    }
    this.inodes++;
    this.bytes += blocks * BLOCK_BYTES;
  }
}

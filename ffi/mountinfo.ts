/**
 * What is mounted where, as the kernel tells it: /proc/self/mountinfo.
 *
 * One line a mount, in the order of mounting: `36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw`.
 * Optional fields stand between the options and `-`. Space, tab, newline and backslash are octal escapes. A mount point
 * that was removed carries the suffix `//deleted`. Source: Documentation/filesystems/proc.rst 3.5, Linux 6.18.
 *
 * Reading it never touches a mounted file system, unlike stat(2): it cannot hang on a server that is gone.
 *
 * @module
 */

/** One mount. */
export interface MountEntry {
  readonly mountId: number;
  readonly parentId: number;
  /** "major:minor" of the file system. */
  readonly device: string;
  /** What of the file system is the root of this mount. */
  readonly root: string;
  /** Absolute path, as this process sees it. */
  readonly mountPoint: string;
  /** Options of this mount, separated by commas. */
  readonly options: string;
  readonly fsType: string;
  readonly source: string;
  /** Options of the file system, separated by commas. */
  readonly superOptions: string;
}

/** The text without octal escapes. Bytes that are no UTF-8 become U+FFFD, as in the rest of the text. */
export function unescapeMountField(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The mounts of a mountinfo text, in its order. Lines that are no mountinfo are left out. */
export function parseMountinfo(text: string): MountEntry[] {
  const mounts: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const entry = parseLine(line);
    if (entry !== undefined) mounts.push(entry);
  }
  return mounts;
}

function parseLine(line: string): MountEntry | undefined {
  const fields = line.split(" ");
  const dash = fields.indexOf("-", 6);
  const [mountId, parentId, device, root, mountPoint, options] = fields;
  if (dash < 0 || device === undefined || root === undefined || mountPoint === undefined || options === undefined) {
    return undefined;
  }
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    device,
    root: unescapeMountField(root),
    mountPoint: unescapeMountField(mountPoint),
    options,
    fsType: fields[dash + 1] ?? "",
    source: unescapeMountField(fields[dash + 2] ?? ""),
    superOptions: fields[dash + 3] ?? "",
  };
}

/** The mounts that this process sees now. */
export function readMountinfo(): MountEntry[] {
  return parseMountinfo(Deno.readTextFileSync("/proc/self/mountinfo"));
}

/** Whether `path` is `folder` or lies below it. Both absolute and without trailing slash. */
export function isAtOrBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/** The mounts at or below `folder`, in the order of mounting. */
export function mountsBelow(folder: string, mounts: readonly MountEntry[] = readMountinfo()): MountEntry[] {
  return mounts.filter((mount) => isAtOrBelow(mount.mountPoint, folder));
}

/** How many mounts are stacked on `mountPoint`. */
export function mountCount(mountPoint: string, mounts: readonly MountEntry[] = readMountinfo()): number {
  return mounts.filter((mount) => mount.mountPoint === mountPoint).length;
}

/** What is topmost at `mountPoint`, an absolute path without links; undefined when nothing is mounted there. */
export function mountAt(mountPoint: string, mounts: readonly MountEntry[] = readMountinfo()): MountEntry | undefined {
  return mounts.findLast((mount) => mount.mountPoint === mountPoint);
}

/**
 * The mount table of this process, /proc/self/mountinfo.
 *
 * One line per mount, in mount order: `36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw`. Optional
 * fields are between the options and `-`. Space, tab, newline and backslash are octal escapes. A removed mount point
 * has the suffix `//deleted`. Source: Documentation/filesystems/proc.rst 3.5, Linux 6.18.
 *
 * Unlike stat(2), reading it never touches a mounted file system, so it cannot hang on an unreachable server. Its length
 * is that of all mounts, one for each running container among them: what is asked for each container is asked by
 * {@link mountIdAt}.
 *
 * @module
 */
import { SyscallError } from "./errno.ts";
import { type Stat, statKnown } from "./sys_stat.ts";

/** One mount. */
export interface MountEntry {
  readonly mountId: number;
  readonly parentId: number;
  /** "major:minor" of the file system. */
  readonly device: string;
  /** Path within the file system that is the root of this mount. */
  readonly root: string;
  /** Absolute path, as seen by this process. */
  readonly mountPoint: string;
  /** Comma-separated options of this mount. */
  readonly options: string;
  readonly fsType: string;
  readonly source: string;
  /** Comma-separated options of the file system. */
  readonly superOptions: string;
}

/** Decodes octal escapes. Invalid UTF-8 becomes U+FFFD, as in the rest of the text. */
export function unescapeMountField(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The kernel's escapes of a path. */
function escapeMountField(path: string): string {
  return path.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/** Parses a mountinfo text in order. Skips malformed lines. */
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

/** The mounts of a mountinfo text at or below `folder`, in order. Other lines are skipped unparsed. */
export function parseMountsBelow(text: string, folder: string): MountEntry[] {
  const escaped = escapeMountField(folder);
  return text.split("\n").filter((line) => line.includes(escaped)).flatMap((line) => {
    const entry = parseLine(line);
    return entry !== undefined && isAtOrBelow(entry.mountPoint, folder) ? [entry] : [];
  });
}

function mountinfoText(): string {
  return Deno.readTextFileSync("/proc/self/mountinfo");
}

/** Reads the current mounts of this process. */
export function readMountinfo(): MountEntry[] {
  return parseMountinfo(mountinfoText());
}

/** Whether `path` is `folder` or lies below it. Both are absolute, without trailing slash. */
export function isAtOrBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/** Mounts at or below `folder`, in mount order. */
export function mountsBelow(folder: string): MountEntry[] {
  return parseMountsBelow(mountinfoText(), folder);
}

/** Number of mounts stacked on `mountPoint`. */
export function mountCount(mountPoint: string): number {
  return mountsBelow(mountPoint).filter((mount) => mount.mountPoint === mountPoint).length;
}

/** Topmost mount at `mountPoint`, an absolute path without symbolic links; undefined if nothing is mounted there. */
export function mountAt(mountPoint: string): MountEntry | undefined {
  return mountsBelow(mountPoint).findLast((mount) => mount.mountPoint === mountPoint);
}

/**
 * Id of the {@link mountAt mount at} `mountPoint`; undefined if nothing is mounted there. Takes as long however many
 * mounts there are (before Linux 5.8 it reads them all), and asks no server of a file system.
 */
export function mountIdAt(mountPoint: string): number | undefined {
  const found = attributesOf(mountPoint);
  if (found === "absent" || found?.isMountRoot === false) return undefined;
  return found?.mountId ?? mountAt(mountPoint)?.mountId;
}

/** Undefined if only the mount table can tell. */
function attributesOf(path: string): Stat | "absent" | undefined {
  try {
    return statKnown(path);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return error.code === "ENOENT" || error.code === "ENOTDIR" ? "absent" : undefined;
  }
}

/**
 * Limits that control groups set to a process, by versions 1 and 2 of the interface.
 *
 * A group's limit holds for all groups below it too, so that of a process is the lowest on the way up to the mounted
 * root. Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and cgroup-v1/pids.rst of Linux 6.18,
 * cgroups(7). Whatever cannot be read counts as no limit.
 *
 * @module
 */
import { isAtOrBelow, type MountEntry, readMountinfo } from "../../ffi/mountinfo.ts";
import { readProcessFile } from "../../ffi/procfs.ts";

/** Limits of a process; undefined where none is set. */
export interface ControlGroupLimits {
  readonly memoryBytes?: number;
  /** Threads and processes that may still be started. */
  readonly freeTasks?: number;
  /** Most threads and processes in the group with the fewest free ones. */
  readonly tasks?: number;
}

/** Returns the limits of the process `pid` as this process sees them. */
export function controlGroupLimits(pid: number | "self" = "self"): ControlGroupLimits {
  const folders = foldersOf(pid);
  const memory = ["memory.max", "memory.high", "memory.limit_in_bytes"]
    .flatMap((name) => folders.map((folder) => readLimit(`${folder}/${name}`)));
  return { ...lowest("memoryBytes", Math.min(...memory)), ...taskLimitsIn(folders) };
}

/** Returns this process's limits of tasks alone. */
export function taskLimits(): Pick<ControlGroupLimits, "freeTasks" | "tasks"> {
  return taskLimitsIn(foldersOf("self"));
}

function foldersOf(pid: number | "self"): string[] {
  return groupFolders(readProcessFile(pid, "cgroup") ?? "", readMountinfo());
}

function taskLimitsIn(folders: readonly string[]): Pick<ControlGroupLimits, "freeTasks" | "tasks"> {
  const tasks = folders.map((folder) => tasksOf(folder)).sort((a, b) => a.free - b.free)[0];
  return tasks === undefined ? {} : { ...lowest("freeTasks", tasks.free), ...lowest("tasks", tasks.most) };
}

/**
 * Returns the folders of all groups that a process is in, innermost first within a hierarchy.
 *
 * @param cgroup text of /proc/PID/cgroup: `4:memory:/system.slice/x.service` of version 1, `0::/system.slice/…` of 2
 */
export function groupFolders(cgroup: string, mounts: readonly MountEntry[]): string[] {
  return cgroup.split("\n").flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    const mount = mounts.find((mount) => isHierarchy(mount, controllers));
    return mount === undefined ? [] : foldersUp(mount, path);
  });
}

function isHierarchy({ fsType, superOptions }: MountEntry, controllers: string): boolean {
  if (controllers === "") return fsType === "cgroup2";
  return fsType === "cgroup" && controllers.split(",").every((name) => superOptions.split(",").includes(name));
}

/** A container may see its own group only, as the root of the mount or by a namespace. */
function foldersUp({ mountPoint, root }: MountEntry, path: string): string[] {
  const names = isAtOrBelow(path, root) ? path.slice(root.length).split("/").filter(Boolean) : [];
  if (names.includes("..")) return [mountPoint];
  return names.map((_, index) => [mountPoint, ...names.slice(0, names.length - index)].join("/")).concat(mountPoint);
}

function tasksOf(folder: string): { readonly most: number; readonly free: number } {
  const most = readLimit(`${folder}/pids.max`);
  return { most, free: most === Infinity ? most : Math.max(0, most - readLimit(`${folder}/pids.current`)) };
}

/** "max", a number that stands for none, or what cannot be read, is Infinity. */
function readLimit(path: string): number {
  const text = readIfThere(path)?.trim() ?? "";
  const limit = /^\d+$/.test(text) ? Number(text) : Infinity;
  return Number.isSafeInteger(limit) ? limit : Infinity;
}

function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined; // no such file in the root group, or not for this user
  }
}

function lowest<Name extends string>(name: Name, limit: number): { [key in Name]?: number } {
  return limit === Infinity ? {} : { [name]: limit } as { [key in Name]: number };
}

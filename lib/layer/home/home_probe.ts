/**
 * Checks whether a folder can hold layers: known bad file systems are refused by name, others are tested.
 *
 * overlayfs requires of its upperdir: file types in directory listings, `trusted.*` attributes, whiteouts (character
 * device 0/0), and a file system that is not an overlay. The test writes one file and removes another through a real
 * overlay in a scratch folder of the home. Failures are reported with the name of the file system.
 *
 * @module
 */
import { DT, readDirectory } from "../../../ffi/dirent.ts";
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { type FsName, fsName, statfs } from "../../../ffi/sys_statfs.ts";
import { setxattr } from "../../../ffi/sys_xattr.ts";
import { isDiskFull } from "../../base/disk_full.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { mountOverlay, unmountAll } from "../overlay/overlay_mount.ts";
import { removeTree } from "../../base/remove_tree.ts";

const log = logger("layer");

/** Name of the file system of `home`, as in `docker info`, where ext4 is "extfs". */
export function backingFileSystem(home: string): string {
  const name = fsName(statfs(home).type);
  return name === "ext4" ? "extfs" : name;
}

/**
 * Checks that layers can be kept in `home`. Leaves nothing behind.
 *
 * @param scratch a folder in `home` for the test; created and removed
 * @throws {NydusGdError} "environment" naming what is missing
 */
export async function probeHome(home: string, scratch: string): Promise<void> {
  const reason = unfitReason(fsName(statfs(home).type));
  if (reason !== undefined) refuse(home, reason);
  requireInitialNamespace(home);
  const merged = `${scratch}/merged`;
  await removeScratch(scratch);
  try {
    for (const folder of ["lower", "diff", "work", "merged"]) {
      await Deno.mkdir(`${scratch}/${folder}`, { recursive: true, mode: 0o700 });
    }
    await Deno.writeTextFile(`${scratch}/lower/removed`, "");
    requireFileTypes(scratch, home);
    requireTrustedXattrs(`${scratch}/lower`, home);
    tryOverlay(scratch, home);
  } finally {
    unmountAll(merged);
    await removeTree(scratch);
  }
}

/**
 * Like {@link probeHome}, but passes if the disk is full, where nothing can be tested: what has layers must open, or
 * nobody could remove any, and containers that run would wait.
 */
export async function probeHomeUnlessFull(home: string, scratch: string): Promise<void> {
  try {
    await probeHome(home, scratch);
  } catch (error) {
    // an overlay without space for its own folders is read-only, which names no space
    const isTestFailed = error instanceof NydusGdError && error.cause !== undefined;
    if (!isDiskFull(error) && !(isTestFailed && !await hasSpace(scratch))) throw error;
    log.warn("disk is full, so it was not tested whether layers can be kept", { home });
  }
}

/** Whether some files can be written below a folder that does not exist before and afterwards. */
async function hasSpace(scratch: string): Promise<boolean> {
  try {
    for (let made = 0; made < FILES_OF_PROBE; made++) {
      await Deno.mkdir(`${scratch}/${made}`, { recursive: true, mode: 0o700 });
      await Deno.writeTextFile(`${scratch}/${made}/file`, "x");
    }
    return true;
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    return false;
  } finally {
    await removeTree(scratch);
  }
}

/** Folders, each with a file, that take at least the space of a probe. */
const FILES_OF_PROBE = 12;

/** File systems that cannot hold layers, and why. */
const UNFIT: Partial<Record<FsName, string>> = {
  btrfs: "its layers would be neither snapshots nor what was tested",
  zfs: "overlayfs does not support it as a lower layer",
  nfs: "overlayfs does not support it as a lower layer",
  overlayfs: "an overlay cannot be below the writable layer of another one",
  fuse: "overlayfs does not support it as a lower layer",
  ecryptfs: "overlayfs does not support it as a lower layer",
};

/** Why a file system of this name cannot hold layers; undefined if it may. */
export function unfitReason(name: string): string | undefined {
  return Object.hasOwn(UNFIT, name) ? UNFIT[name as FsName] : undefined;
}

/** Id map of a process in the initial user namespace, proc_pid_uid_map(5). */
const ALL_IDS = /^\s*0\s+0\s+4294967295\s*$/;

/** Refuses a user namespace (rootless Docker), which has neither `trusted.*` attributes nor device nodes. */
function requireInitialNamespace(home: string): void {
  if (ALL_IDS.test(Deno.readTextFileSync("/proc/self/uid_map"))) return;
  refuse(home, "this process is in a user namespace (rootless Docker), layers need root on the host");
}

async function removeScratch(scratch: string): Promise<void> {
  unmountAll(`${scratch}/merged`);
  await removeTree(scratch);
}

function requireFileTypes(scratch: string, home: string): void {
  using folder = open(scratch, O.RDONLY | O.DIRECTORY);
  for (const entry of readDirectory(folder)) {
    if (entry.type === DT.UNKNOWN) refuse(home, "it does not report file types in directory listings (d_type)");
  }
}

function requireTrustedXattrs(folder: string, home: string): void {
  try {
    setxattr(folder, "trusted.overlay.nydus-gd-probe", new Uint8Array([0x79]));
  } catch (error) {
    if (isErrno(error, "EOPNOTSUPP")) refuse(home, "it does not support trusted.* extended attributes", error);
    if (isErrno(error, "EPERM")) refuse(home, "trusted.* extended attributes need root (CAP_SYS_ADMIN)", error);
    throw error;
  }
}

function tryOverlay(scratch: string, home: string): void {
  const stack = { lowers: [`${scratch}/lower`], upper: { diff: `${scratch}/diff`, work: `${scratch}/work` } };
  try {
    mountOverlay(stack, `${scratch}/merged`);
    Deno.writeTextFileSync(`${scratch}/merged/written`, "");
    Deno.removeSync(`${scratch}/merged/removed`);
  } catch (error) {
    if (isErrno(error, "EPERM")) refuse(home, "mounting needs root (CAP_SYS_ADMIN)", error);
    if (isErrno(error, "ENODEV")) refuse(home, "the kernel has no overlay (modprobe overlay)", error);
    refuse(home, `an overlay on it fails (${messageOf(error)})`, error);
  }
  const whiteout = Deno.lstatSync(`${scratch}/diff/removed`);
  if (!whiteout.isCharDevice || whiteout.rdev !== 0) {
    refuse(home, "it does not support whiteouts (character device 0/0)");
  }
}

function refuse(home: string, what: string, cause?: unknown): never {
  throw new NydusGdError("environment", `Cannot keep layers in "${home}" on ${backingFileSystem(home)}: ${what}`, {
    hint: "run Docker as root with its data-root on ext4 or xfs (ftype=1)",
    cause,
  });
}

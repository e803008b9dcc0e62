/**
 * Checks the kernel: its version, and each feature by trying it.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import { pageSize } from "../../ffi/sys_mman.ts";
import { hasCode, messageOf } from "../base/errors.ts";
import { probeErofs } from "../mount/erofs/probe.ts";
import { probeFanotify } from "../mount/fanotify/probe_fanotify.ts";
import { probeFscache } from "../mount/fscache/probe_fscache.ts";
import { type Check, fail, failedWith, ok, type Outcome, skipped, warn } from "./check.ts";
import type { Installation } from "./installation.ts";
import { scratchIn } from "./scratch.ts";

const GROUP = "kernel";

/** From this version on, overlays work with FUSE as a lower layer and pidfd_getfd(2) can pass descriptors. */
const OLDEST = [5, 10] as const;
const USUAL_PAGE_BYTES = 4096;
/** Allows for starting a Worker that mounts. */
const PROBE_TIMEOUT_MS = 20_000;

/**
 * Checks of version, FUSE, and EROFS on files and over fscache. Overlays are checked by the trial mount and the storage
 * checks.
 */
export function kernelChecks(installation: Installation): Check[] {
  return [
    { group: GROUP, name: "version", run: checkVersion },
    { group: GROUP, name: "root", run: () => checkUser(installation) },
    { group: GROUP, name: "FUSE", run: () => checkFuse(installation) },
    { group: GROUP, name: "EROFS on files", timeoutMs: PROBE_TIMEOUT_MS, run: () => checkErofs(installation) },
    { group: GROUP, name: "EROFS over fscache", timeoutMs: PROBE_TIMEOUT_MS, run: () => checkFscache(installation) },
  ];
}

function checkVersion(): Outcome {
  const release = Deno.osRelease();
  const seen = `Linux ${release}, ${Deno.build.arch}${pagesOf(pageSize())}`;
  return isAtLeast(release, OLDEST)
    ? ok(seen)
    : warn(`${seen}: older than any that was tested`, "use Linux 5.10 or later");
}

/** What is said of the size of pages, where it is not the usual one: erofs-fscache needs that. */
export function pagesOf(sizeBytes: number): string {
  return sizeBytes === USUAL_PAGE_BYTES ? "" : `, pages of ${sizeBytes / 1024} KiB`;
}

/** Whether a release such as "6.1.0-18-amd64" is `version` or later. */
export function isAtLeast(release: string, [major, minor]: readonly [major: number, minor: number]): boolean {
  const [, seenMajor = "0", seenMinor = "0"] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(seenMajor) > major || (Number(seenMajor) === major && Number(seenMinor) >= minor);
}

function checkUser({ isRoot }: Installation): Outcome {
  return isRoot
    ? ok("running as root")
    : skipped("not running as root: checks that need it are skipped", "sudo nydus-gd doctor");
}

function checkFuse({ isRoot }: Installation): Outcome {
  const device = "/dev/fuse";
  try {
    open(device, O.RDWR)[Symbol.dispose]();
    return ok(`${device} can be opened`);
  } catch (error) {
    if (isErrno(error, "EACCES") && !isRoot) {
      return skipped(`this user has no access to ${device}`, "sudo nydus-gd doctor");
    }
    if (isErrno(error, "ENOENT", "ENODEV", "ENXIO")) return fail(messageOf(error), "modprobe fuse");
    if (isErrno(error, "EPERM", "EACCES")) { // of a control group, or of a nodev mount
      return fail(
        `${messageOf(error)}: the device is forbidden`,
        "allow c 10:229 in the unit's DeviceAllow, or --device /dev/fuse",
      );
    }
    throw error;
  }
}

/** EROFS being unavailable is a failure only if the settings request it by name. */
async function checkErofs(installation: Installation): Promise<Outcome> {
  if (!installation.isRoot) return skipped("mounting needs root", "sudo nydus-gd doctor");
  await using scratch = await scratchIn(installation.options.root, "erofs");
  try {
    probeErofs(scratch.path);
    const watching = await probeFanotify(scratch.path, scratch.path).catch(messageOf);
    if (watching === undefined) return ok("can be mounted and watched: every fs_driver is available");
    if (installation.settings.mount.fsDriver === "erofs-fanotify") return fail(watching, 'mount.fs_driver = "auto"');
    return ok(`can be mounted, and is right about short devices: fs_driver erofs-fuse is available (${watching})`);
  } catch (error) {
    const seen = messageOf(error);
    if (installation.settings.mount.fsDriver.startsWith("erofs")) return fail(seen, 'mount.fs_driver = "auto"');
    return ok(`not available, images are served by FUSE (${seen})`);
  }
}

/** Checks fscache. Skipped while another program, such as our daemon, owns the kernel's cache. */
async function checkFscache(installation: Installation): Promise<Outcome> {
  if (!installation.isRoot) return skipped("mounting needs root", "sudo nydus-gd doctor");
  try {
    await using scratch = await scratchIn(installation.cacheDir, "fscache");
    const { canBeTakenOver } = await probeFscache(scratch.path, scratch.path);
    const seen = "can be mounted, and asks for data: fs_driver erofs-fscache is available";
    return canBeTakenOver ? ok(seen) : warn(`${seen}, but images fail when the daemon exits (Linux 6.8)`);
  } catch (error) {
    if (hasCode(error, "busy")) return skipped(messageOf(error));
    if (installation.settings.mount.fsDriver === "erofs-fscache") return failedWith(error, 'mount.fs_driver = "auto"');
    return ok(`not available (${messageOf(error)})`);
  }
}

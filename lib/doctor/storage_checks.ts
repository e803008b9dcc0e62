/**
 * Checks storage: the cache, Docker's layers, and containerd's snapshots.
 *
 * @module
 */
import { fsName, statfs } from "../../ffi/sys_statfs.ts";
import { bytesText } from "../base/byte_text.ts";
import { isDiskFull } from "../base/disk_full.ts";
import { describeError } from "../base/error_report.ts";
import { ignore } from "../base/errors.ts";
import { limitInBytes } from "../base/setting_values.ts";
import { probeHome, unfitReason } from "../layer/home/home_probe.ts";
import type { DockerInfo } from "../image/docker/engine_responses.ts";
import { pluginSupport } from "../setup/docker/docker_version.ts";
import { snapshotterDir } from "../snapshot/snapshot_paths.ts";
import { type Check, fail, ok, type Outcome, skipped, warn } from "./check.ts";
import { statusOf } from "./daemon_checks.ts";
import type { Installation } from "./installation.ts";
import { nearestFolder, scratchIn } from "./scratch.ts";

const GROUP = "storage";

const NEEDS_ROOT = "sudo nydus-gd doctor";

/** Network file systems: allowed for a cache, but rarely intended. */
const REMOTE = new Set(["nfs", "fuse"]);
/** Moves the cache. */
const OTHER_CACHE = 'cache.dir = "/another/folder"';

/** Timeout for Docker to tell its data-root. */
const DOCKER_TIMEOUT_MS = 5_000;
/** Timeout of a check that asks it, and then tries an overlay. */
const LAYERS_TIMEOUT_MS = 10_000;

/** Asks Docker, at most once for all checks; undefined if it does not answer. */
type AskDocker = () => Promise<DockerInfo | undefined>;

/** Checks of state, cache, free space, layers and snapshots. */
export function storageChecks(installation: Installation): Check[] {
  const places = [["layers", checkLayers], ["snapshots", checkSnapshots]] as const;
  let asked: Promise<DockerInfo | undefined> | undefined;
  const askDocker = (signal: AbortSignal) => asked ??= dockerInfo(installation, signal);
  return [
    { group: GROUP, name: "state", run: (signal) => checkState(installation, signal) },
    { group: GROUP, name: "cache", run: () => checkCache(installation) },
    { group: GROUP, name: "free space", run: () => checkSpace(installation) },
    ...places.map(([name, check]): Check => ({
      group: GROUP,
      name,
      timeoutMs: LAYERS_TIMEOUT_MS,
      run: (signal) => check(installation, () => askDocker(signal)),
    })),
  ];
}

async function checkState({ options: { root, adminSocket }, isRoot }: Installation, signal: AbortSignal) {
  const folder = `${root}/state`;
  if (!isRoot) return skipped("only root can write it", NEEDS_ROOT);
  const served = (await statusOf(adminSocket, signal))?.root;
  if (served !== undefined && !await isSameFolder(served, root)) {
    return warn(`${folder}, but the daemon that runs has ${served}/state`, `nydus-gd doctor --root ${served}`);
  }
  return await whyUnusable(folder, "nydus-gd serve --root /another/folder") ?? ok(folder);
}

async function isSameFolder(one: string, other: string): Promise<boolean> {
  if (one === other) return true;
  const look = (path: string) => ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
  const [a, b] = [await look(one), await look(other)];
  return a !== undefined && a.dev === b?.dev && a.ino === b.ino;
}

async function checkCache({ cacheDir, isRoot }: Installation): Promise<Outcome> {
  const unusable = isRoot ? await whyUnusable(cacheDir, OTHER_CACHE) : undefined;
  if (unusable !== undefined) return unusable;
  const place = await visibleFolder(cacheDir);
  if (place === undefined) return forbidden(cacheDir);
  const name = fsName(statfs(place).type);
  const seen = `${cacheDir} on ${name}`;
  if (name === "tmpfs") return warn(`${seen}: it uses memory, and is empty after a reboot`, 'cache.dir = "/a/disk"');
  if (REMOTE.has(name)) return warn(`${seen}: every read goes over the network`, 'cache.dir = "/a/local/disk"');
  return ok(seen);
}

/**
 * Tries what the daemon does first: to make the folder, or something in it. Undefined if that works.
 *
 * @param elsewhere how to use another folder
 */
async function whyUnusable(folder: string, elsewhere: string): Promise<Outcome | undefined> {
  try {
    const isThere = await ignore(Deno.errors.NotFound, Deno.lstat(folder)) !== undefined;
    if (isThere && !(await Deno.stat(folder)).isDirectory) {
      return fail(`${folder} is not a folder`, `rm ${folder}, or ${elsewhere}`);
    }
    await using _scratch = await scratchIn(folder, "folder");
    return undefined;
  } catch (error) {
    // "free space" tells of a full disk
    return isDiskFull(error) ? undefined : fail(describeError(error).message, elsewhere);
  }
}

async function checkSpace({ cacheDir, settings: { cache: { minFree } } }: Installation): Promise<Outcome> {
  const place = await visibleFolder(cacheDir);
  if (place === undefined) return forbidden(cacheDir);
  const { blockSize, blocks, availableBlocks, files, freeFiles } = statfs(place);
  const [free, total] = [availableBlocks * blockSize, blocks * blockSize];
  const least = limitInBytes(minFree, total);
  const seen = `${bytesText(free)} free of ${bytesText(total)}`;
  if (free === 0 || (files > 0 && freeFiles === 0)) {
    return fail(free === 0 ? seen : `${seen}, but no free inode`, `du -xh ${cacheDir} | sort -h | tail`);
  }
  return free < least
    ? warn(
      `${seen}, less than cache.min_free (${bytesText(least)}): nothing is prefetched`,
      `set cache.dir, or free some space`,
    )
    : ok(seen);
}

/** Tries an overlay where Docker would make us store layers. */
async function checkLayers(installation: Installation, askDocker: AskDocker): Promise<Outcome> {
  const info = await askDocker();
  if (info === undefined) return skipped("Docker does not answer, so its data-root is not known");
  if (keepsInContainerd(info)) return skipped("Docker's are snapshots of containerd");
  const home = `${info.dataRoot}/${installation.driverName}`;
  return await tryOverlay(installation, home, "a data-root on ext4 or xfs (ftype=1)");
}

/** Tries an overlay where snapshots of containerd are stored. */
async function checkSnapshots(installation: Installation, askDocker: AskDocker): Promise<Outcome> {
  if (installation.snapshotter === undefined) {
    const info = await askDocker();
    if (info === undefined || !keepsInContainerd(info)) return skipped("no snapshotter is set up");
  }
  const home = snapshotterDir(installation.options.root);
  return await tryOverlay(installation, home, "nydus-gd serve --root /a/folder, on ext4 or xfs (ftype=1)");
}

async function dockerInfo({ docker }: Installation, signal: AbortSignal): Promise<DockerInfo | undefined> {
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(DOCKER_TIMEOUT_MS)]);
  try {
    return await docker.info(timeout);
  } catch {
    return undefined;
  }
}

function keepsInContainerd({ version, usesContainerdStore }: DockerInfo): boolean {
  return usesContainerdStore || pluginSupport(version).kind === "removed";
}

/** @param elsewhere what to use if its file system is unfit */
async function tryOverlay({ isRoot }: Installation, home: string, elsewhere: string): Promise<Outcome> {
  const place = await visibleFolder(home);
  if (place === undefined) return forbidden(home);
  const name = fsName(statfs(place).type);
  const reason = unfitReason(name);
  if (reason !== undefined) return fail(`${home} is on ${name}: ${reason}`, elsewhere);
  if (!isRoot) {
    return skipped(`${home} is on ${name}; an overlay was not tested`, NEEDS_ROOT);
  }
  await using scratch = await scratchIn(place, "layers");
  await probeHome(scratch.path, `${scratch.path}/probe`);
  return ok(`${home} on ${name}: an overlay was mounted and written to`);
}

/** As {@link nearestFolder}; undefined if this user may not see it. */
async function visibleFolder(folder: string): Promise<string | undefined> {
  return await ignore(Deno.errors.PermissionDenied, nearestFolder(folder));
}

function forbidden(folder: string): Outcome {
  return skipped(`this user has no access to ${folder}`, NEEDS_ROOT);
}

/**
 * Checks storage: the cache, and Docker's layers.
 *
 * @module
 */
import { fsName, statfs } from "../../ffi/sys_statfs.ts";
import { bytesText } from "../base/byte_text.ts";
import { limitInBytes } from "../base/setting_values.ts";
import { backingFileSystem, probeHome, unfitReason } from "../layer/home_probe.ts";
import { type Check, fail, type Finding, ok, skipped, warn } from "./check.ts";
import type { Installation } from "./installation.ts";
import { nearestFolder, scratchIn } from "./scratch.ts";

const GROUP = "storage";

/** Network file systems: allowed for a cache, but rarely intended. */
const REMOTE = new Set(["nfs", "fuse"]);

/** Checks of cache, free space and layers. */
export function storageChecks(installation: Installation): Check[] {
  return [
    { group: GROUP, name: "cache", run: () => checkCache(installation) },
    { group: GROUP, name: "free space", run: () => checkSpace(installation) },
    { group: GROUP, name: "layers", run: (signal) => checkLayers(installation, signal) },
  ];
}

async function checkCache({ cacheDir }: Installation): Promise<Finding> {
  const place = await nearestFolder(cacheDir);
  const name = fsName(statfs(place).type);
  const seen = `${cacheDir} on ${name}`;
  if (name === "tmpfs") return warn(`${seen}: it uses memory, and is empty after a reboot`, 'cache.dir = "/a/disk"');
  if (REMOTE.has(name)) return warn(`${seen}: every read goes over the network`, 'cache.dir = "/a/local/disk"');
  return ok(seen);
}

async function checkSpace({ cacheDir, settings: { cache: { minFree } } }: Installation): Promise<Finding> {
  const { blockSize, blocks, availableBlocks, files, freeFiles } = statfs(await nearestFolder(cacheDir));
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

/** Tries an overlay in the directory in which Docker would make us store layers. */
async function checkLayers({ docker, isRoot, options }: Installation, signal: AbortSignal): Promise<Finding> {
  let dataRoot: string;
  try {
    dataRoot = (await docker.info(signal)).dataRoot;
  } catch {
    return skipped("Docker does not answer, so its data-root is not known");
  }
  const driver = options.socket.replace(/^.*\//, "").replace(/\.sock$/, "");
  const home = `${dataRoot}/${driver}`;
  const place = await nearestFolder(home);
  const name = fsName(statfs(place).type);
  const reason = unfitReason(name);
  if (reason !== undefined) return fail(`${home} is on ${name}: ${reason}`, "a data-root on ext4 or xfs (ftype=1)");
  if (!isRoot) {
    return skipped(`${home} is on ${backingFileSystem(place)}; an overlay was not tested`, "sudo nydus-gd doctor");
  }
  await using scratch = await scratchIn(place, "layers");
  await probeHome(scratch.path, `${scratch.path}/probe`);
  return ok(`${home} on ${backingFileSystem(place)}: an overlay was mounted and written to`);
}

/**
 * The work of `nydus-gd mount`: locates the blobs, mounts, and serves until it is stopped.
 *
 * @module
 */
import { whenAborted } from "../../base/abort.ts";
import { logger } from "../../base/log.ts";
import { cacheOptions, prefetchScope } from "../../image/prefetch/fetch_plan.ts";
import { locateImage, requireBackend } from "../../image/source/locate_image.ts";
import { mountImage } from "../../image/mount/mount_image.ts";
import { MountState } from "../../image/mount/mount_state.ts";
import type { EarlyThreads } from "../../mount/early_threads.ts";
import type { ActionContext, MountArgs } from "../actions.ts";
import { oneLine } from "../output.ts";
import { ImageAccess } from "./image_access.ts";

const log = logger("mount");

/**
 * Mounts, and serves until it is stopped.
 *
 * @param threads that are already starting; they end here
 */
export async function serveMount(
  args: MountArgs,
  threads: EarlyThreads,
  { signal, stdout }: ActionContext,
): Promise<void> {
  using access = await ImageAccess.open(args.settings);
  const { settings } = access;
  await using state = await MountState.take(args.dir);
  const { bootstrap: what, blobDir, config: configPath } = args;
  const located = await locateImage({ what, blobDir, config: configPath }, access.sources(state.path), signal);
  const { source, sourceName, config } = located;
  await using mounted = await mountImage({
    source,
    sourceName,
    dir: state.dir,
    stateDir: state.path,
    takeOver: state.isMounted,
    backend: requireBackend(located, "mount"),
    cacheDir: args.cacheDir ?? config?.cache.workDir,
    fetching: { ...cacheOptions(settings, config), setBy: "--cache-dir" },
    prefersFscache: config?.cache.type === "fscache",
    // no prefetch unless configured: a manual mount may serve only a quick look
    prefetch: config?.prefetch.configured ? prefetchScope(settings, config) : undefined,
    minFree: settings.cache.minFree,
    validate: config?.rafs.validate ?? false,
    fsDriver: args.fsDriver ?? settings.mount.fsDriver,
    warn: (warning) => log.warn(warning),
    workers: settings.mount.workers,
    threads,
    deadlineMs: settings.fetch.deadlineMs,
    signal,
  });
  stdout.write(`${oneLine(`mounted ${args.bootstrap} on ${mounted.dir} (${mounted.fsDriver})`)}\n`);
  await Promise.race([mounted.ended, whenAborted(signal)]);
}

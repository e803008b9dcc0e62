/**
 * Implements `nydus-gd mount`: locates the blobs, mounts, and serves until it is stopped.
 *
 * @module
 */
import { whenAborted } from "../../base/abort.ts";
import { hasCode, ignore, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { cacheOptions, prefetchScope } from "../../image/fetch_plan.ts";
import { locateImage, requireBackend } from "../../image/source/locate_image.ts";
import { mountImage } from "../../image/mount_image.ts";
import { MountState } from "../../image/mount_state.ts";
import { namedFsDriver } from "../../mount/data_path.ts";
import type { ActionContext, MountArgs } from "../actions.ts";
import { startInBackground } from "./background.ts";
import { ImageAccess } from "./image_access.ts";

const log = logger("mount");

/** Serves in the foreground, or starts a process that does. */
export async function mount(args: MountArgs, context: ActionContext): Promise<number | void> {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot mount: it needs root", { hint: "sudo nydus-gd mount …" });
  }
  if (args.fsDriver !== undefined) namedFsDriver(args.fsDriver);
  if (!args.background) return await serve(args, context);
  const { settings } = args;
  const options = [
    ["--blob-dir", args.blobDir],
    ["--config", args.config],
    ["--cache-dir", args.cacheDir],
    ["--fs-driver", args.fsDriver],
    ["--settings", settings.explicit ? settings.path : undefined],
  ] as const;
  const flags = options.flatMap(([flag, value]) => value === undefined ? [] : [flag, value]);
  const { level, format } = context.log;
  const style = ["--log-level", level, "--log-format", format];
  const words = [...style, "mount", ...flags, "--", args.bootstrap, args.dir];
  return await inOrder(args, () => startInBackground(words, args.dir, context));
}

/** Adds a hint for swapped arguments to the refusal of a mount point. */
async function inOrder<T>({ bootstrap, dir }: MountArgs, take: () => Promise<T>): Promise<T> {
  try {
    return await take();
  } catch (error) {
    if (!hasCode(error, "not-found") || !await isFolder(bootstrap)) throw error;
    const hint = `the image comes first: nydus-gd mount ${dir} ${bootstrap}`;
    throw new NydusGdError("usage", error.message, { hint, cause: error });
  }
}

async function isFolder(path: string): Promise<boolean> {
  const entry = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
  return entry?.isDirectory ?? false;
}

async function serve(args: MountArgs, { signal, stdout }: ActionContext): Promise<void> {
  using access = await ImageAccess.open(args.settings);
  const { settings } = access;
  await using state = await inOrder(args, () => MountState.take(args.dir));
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
    deadlineMs: settings.fetch.deadlineMs,
    signal,
  });
  stdout.write(`mounted ${args.bootstrap} on ${mounted.dir} (${mounted.fsDriver})\n`);
  await Promise.race([mounted.ended, whenAborted(signal)]);
}

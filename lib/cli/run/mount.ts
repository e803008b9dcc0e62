/**
 * Implements `nydus-gd mount`: starts its threads before the modules that do the work are loaded.
 *
 * @module
 */
import { hasCode, ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { warnOfLowLimits } from "../../base/process_limits.ts";
import { namedFsDriver } from "../../mount/data_path.ts";
import { EarlyThreads } from "../../mount/early_threads.ts";
import type { ActionContext, MountArgs } from "../actions.ts";

/** Serves in the foreground, or starts a process that does. */
export async function mount(args: MountArgs, context: ActionContext): Promise<number | void> {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot mount: it needs root", { hint: "sudo nydus-gd mount …" });
  }
  if (args.fsDriver !== undefined) namedFsDriver(args.fsDriver);
  try {
    return await (args.background ? startServer(args, context) : serve(args, context));
  } catch (error) {
    throw await hasSwapped(args, error) ? swapped(args, error) : error;
  }
}

async function serve(args: MountArgs, context: ActionContext): Promise<void> {
  warnOfLowLimits(); // before there is a chance to exceed them
  using threads = new EarlyThreads({ bootstrap: args.bootstrap, fsDriver: args.fsDriver ?? "auto" });
  const { serveMount } = await import("./serve_mount.ts");
  await serveMount(args, threads, context);
}

async function startServer(args: MountArgs, context: ActionContext): Promise<number> {
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
  const { startInBackground } = await import("./background.ts");
  return await startInBackground(words, args.dir, context);
}

/** Whether mounting failed because the folder was given first. */
async function hasSwapped({ bootstrap, dir }: MountArgs, error: unknown): Promise<boolean> {
  return hasCode(error, "not-found") && await isFolder(bootstrap) && !await isFolder(dir);
}

function swapped({ bootstrap, dir }: MountArgs, cause: unknown): NydusGdError {
  const hint = `the image comes first: nydus-gd mount ${dir} ${bootstrap}`;
  return new NydusGdError("usage", messageOf(cause), { hint, cause });
}

async function isFolder(path: string): Promise<boolean> {
  const entry = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
  return entry?.isDirectory ?? false;
}

/**
 * The work of `nydus-gd mount`: finds the blobs' home, mounts, serves until it is told to stop.
 *
 * @module
 */
import { LocalFsBackend } from "../../backend/localfs.ts";
import type { Backend } from "../../backend/blob_source.ts";
import { type BackendDeps, openBackend, openRegistry } from "../../backend/open_backend.ts";
import { fetchOptionsOf } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import type { NydusdConfig } from "../../backend/nydusd_config.ts";
import { certsDirs, Mirrors } from "../../backend/registry/certs_dir.ts";
import { dockerConfigDir, DockerKeychain } from "../../backend/registry/keychain.ts";
import { whenAborted } from "../../base/abort.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { parseSettings } from "../../base/settings.ts";
import { readNydusdConfig } from "../../image/config_files.ts";
import { cacheOptions, prefetchScope } from "../../image/fetch_plan.ts";
import { mountImage } from "../../image/mount_image.ts";
import { MountState } from "../../image/mount_state.ts";
import { fetchBootstrap } from "../../image/remote_bootstrap.ts";
import { namedFsDriver } from "../../mount/choose.ts";
import { parseReference } from "../../oci/reference.ts";
import type { ActionContext, MountArgs } from "../actions.ts";
import { startInBackground } from "./background.ts";

/** Serves in the foreground, or starts a process that does. */
export async function mount(args: MountArgs, context: ActionContext): Promise<number | void> {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot mount: it needs root", { hint: "sudo nydus-gd mount …" });
  }
  namedFsDriver(args.fsDriver);
  if (!args.background) return await serve(args, context);
  const options = [["--blob-dir", args.blobDir], ["--config", args.config], ["--cache-dir", args.cacheDir]] as const;
  const flags = options.flatMap(([flag, value]) => value === undefined ? [] : [flag, value]);
  const words = ["mount", ...flags, "--fs-driver", args.fsDriver, "--", args.bootstrap, args.dir];
  return await startInBackground(["--log-level", context.log.level, ...words], args.dir, context);
}

async function serve(args: MountArgs, { signal, stdout }: ActionContext): Promise<void> {
  const settings = parseSettings("", Deno.env.toObject());
  using http = new HttpClient(fetchOptionsOf(settings.fetch));
  const deps = {
    http,
    keychain: new DockerKeychain({ configDir: dockerConfigDir(settings.docker.config) }),
    mirrors: new Mirrors(certsDirs(settings.fetch.certsDir)),
  };
  await using state = await MountState.take(args.dir);
  const { source, backend, config } = await homeOf(args, deps, state.path, signal);
  await using mounted = await mountImage({
    source,
    dir: state.dir,
    stateDir: state.path,
    takeOver: state.isMounted,
    backend,
    cacheDir: args.cacheDir ?? config?.cache.workDir,
    fetching: cacheOptions(settings, config),
    // without a word on it nothing is fetched that nobody reads: who mounts by hand may only want to look
    prefetch: config?.prefetch.configured ? prefetchScope(settings, config) : undefined,
    minFree: settings.cache.minFree,
    validate: config?.rafs.validate ?? false,
    fsDriver: args.fsDriver,
    workers: settings.mount.workers,
    deadlineMs: settings.fetch.deadlineMs,
    signal,
  });
  stdout.write(`mounted ${args.bootstrap} on ${mounted.dir} (${mounted.fsDriver})\n`);
  await Promise.race([mounted.ended, whenAborted(signal)]);
}

interface Home {
  /** File that holds the bootstrap. */
  readonly source: string;
  readonly backend: Backend;
  readonly config: NydusdConfig | undefined;
}

/** A file and a named home of its blobs, or an image reference, whose blobs are in the same repository. */
async function homeOf(args: MountArgs, deps: BackendDeps, stateDir: string, signal: AbortSignal): Promise<Home> {
  const isFile = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(args.bootstrap));
  const config = args.config === undefined ? undefined : await readNydusdConfig({ path: args.config, explicit: true });
  if (isFile === undefined && !/^[./]/.test(args.bootstrap)) {
    const reference = parseReference(args.bootstrap);
    const registry = openRegistry({ host: reference.host, repo: reference.repository }, deps);
    const source = `${stateDir}/image.boot`;
    await Deno.writeFile(source, await fetchBootstrap(registry.transport, reference, signal), { mode: 0o600 });
    return { source, backend: registry, config };
  }
  if (args.blobDir !== undefined) {
    const backend = new LocalFsBackend({ blobFile: undefined, dir: args.blobDir, altDirs: [] });
    return { source: args.bootstrap, backend, config };
  }
  if (config !== undefined) return { source: args.bootstrap, backend: openBackend(config.backend, deps), config };
  throw new NydusGdError("usage", `Cannot mount ${args.bootstrap}: it is not said where its blobs are`, {
    hint: "--blob-dir DIR, or --config FILE",
  });
}

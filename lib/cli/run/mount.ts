/**
 * The work of `nydus-gd mount`: finds the blobs' home, mounts, serves until it is told to stop.
 *
 * @module
 */
import { open } from "node:fs/promises";
import { LocalFsBackend } from "../../backend/localfs.ts";
import type { Backend } from "../../backend/blob_source.ts";
import { type BackendDeps, openBackend, openRegistry } from "../../backend/open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/registry/fetch_options.ts";
import { HttpClient } from "../../backend/registry/http_client.ts";
import { dockerConfigDir, DockerKeychain } from "../../backend/registry/keychain.ts";
import { whenAborted } from "../../base/abort.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { selfCommand } from "../../base/self_command.ts";
import { DEFAULT_SETTINGS } from "../../base/settings.ts";
import { readNydusdConfig } from "../../image/config_files.ts";
import { makeStateDir, mountImage } from "../../image/mount_image.ts";
import { fetchBootstrap } from "../../image/remote_bootstrap.ts";
import { chooseFsDriver } from "../../mount/choose.ts";
import { parseReference } from "../../oci/reference.ts";
import type { ActionContext, MountArgs } from "../actions.ts";

/** Serves in the foreground, or starts a process that does. */
export async function mount(args: MountArgs, context: ActionContext): Promise<number | void> {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot mount: it needs root", { hint: "sudo nydus-gd mount …" });
  }
  chooseFsDriver(args.fsDriver);
  return args.background ? await startInBackground(args, context) : await serve(args, context);
}

async function serve(args: MountArgs, { signal, stdout }: ActionContext): Promise<void> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const deps = { http, keychain: new DockerKeychain({ configDir: dockerConfigDir() }) };
  await using state = await makeStateDir(args.dir);
  const { source, backend, cacheDir } = await homeOf(args, deps, state.path, signal);
  await using mounted = await mountImage({
    source,
    dir: state.dir,
    stateDir: state.path,
    backend,
    cacheDir: args.cacheDir ?? cacheDir,
    workers: DEFAULT_SETTINGS.mount.workers,
  });
  stdout.write(`mounted ${args.bootstrap} on ${mounted.dir} (${mounted.fsDriver})\n`);
  await Promise.race([mounted.ended, whenAborted(signal)]);
}

interface Home {
  /** File that holds the bootstrap. */
  readonly source: string;
  readonly backend: Backend;
  readonly cacheDir: string | undefined;
}

/** A file and a named home of its blobs, or an image reference, whose blobs are in the same repository. */
async function homeOf(args: MountArgs, deps: BackendDeps, stateDir: string, signal: AbortSignal): Promise<Home> {
  const isFile = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(args.bootstrap));
  const config = args.config === undefined ? undefined : await readNydusdConfig({ path: args.config, explicit: true });
  const cacheDir = config?.cache.workDir;
  if (isFile === undefined && !/^[./]/.test(args.bootstrap)) {
    const reference = parseReference(args.bootstrap);
    const registry = openRegistry({ host: reference.host, repo: reference.repository }, deps);
    const source = `${stateDir}/image.boot`;
    await Deno.writeFile(source, await fetchBootstrap(registry.transport, reference, signal), { mode: 0o600 });
    return { source, backend: registry, cacheDir };
  }
  if (args.blobDir !== undefined) {
    const backend = new LocalFsBackend({ blobFile: undefined, dir: args.blobDir, altDirs: [] });
    return { source: args.bootstrap, backend, cacheDir };
  }
  if (config !== undefined) return { source: args.bootstrap, backend: openBackend(config.backend, deps), cacheDir };
  throw new NydusGdError("usage", `Cannot mount ${args.bootstrap}: it is not said where its blobs are`, {
    hint: "--blob-dir DIR, or --config FILE",
  });
}

/** Starts this program again without --background, and returns when its first line tells that the mount is usable. */
async function startInBackground(args: MountArgs, { stdout, signal }: ActionContext): Promise<number> {
  const logPath = await Deno.makeTempFile({ prefix: "nydus-gd-mount-", suffix: ".log" });
  const [program, ...first] = selfCommand();
  const flags = [
    ...(args.blobDir === undefined ? [] : ["--blob-dir", args.blobDir]),
    ...(args.config === undefined ? [] : ["--config", args.config]),
    ...(args.cacheDir === undefined ? [] : ["--cache-dir", args.cacheDir]),
    "--fs-driver",
    args.fsDriver,
  ];
  const child = new Deno.Command("sh", {
    args: ["-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", logPath, program, ...first, "mount", ...flags]
      .concat(args.bootstrap, args.dir),
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  const stop = () => child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  let code: number | undefined;
  child.status.then((status) => code = status.code);
  for (;;) {
    const text = await Deno.readTextFile(logPath);
    const usable = text.split("\n").find((line) => line.startsWith("mounted "));
    if (usable !== undefined) stdout.write(`${usable}, process ${child.pid}, log ${logPath}\n`);
    if (usable !== undefined || code !== undefined) {
      signal.removeEventListener("abort", stop);
      child.unref();
      if (usable === undefined) await relayFailure(text, logPath);
      return code ?? 0;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Shows what the process said before it failed. */
async function relayFailure(text: string, logPath: string): Promise<void> {
  await using stderr = await open("/dev/stderr", "a");
  await stderr.writeFile(text);
  await Deno.remove(logPath);
}

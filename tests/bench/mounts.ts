/**
 * Mounts a lazy image without Docker: by `nydus-gd mount`, and by nydusd, from the same configuration.
 *
 * @module
 */
import { mountAt } from "../../ffi/mountinfo.ts";
import { NydusGdError } from "../../lib/base/errors.ts";

/** Maximum time for a mount to appear, including on an emulated CPU. */
const MOUNT_TIMEOUT_MS = 180_000;
const POLL_MS = 5;

/** What is mounted, and where to. */
export interface MountOptions {
  /** The nydus-gd executable to measure. */
  readonly program: string;
  readonly bootstrap: string;
  /** `device.backend` of nydusd's configuration. */
  readonly backend: Readonly<Record<string, unknown>>;
  /** Data path of nydus-gd; absent: its own choice. */
  readonly fsDriver?: string;
  /** Bytes by which reads are extended: `amplify_io` of nydusd's configuration. Absent: 0. */
  readonly amplifyIo?: number;
  /** Whether nydus-gd prefetches the image, its default; false if absent. nydusd never does here. */
  readonly prefetches?: boolean;
  /** A new directory, or that of an earlier mount, for configuration, cache, log and the mount point. */
  readonly dir: string;
}

/** A mount that its server serves until disposed. */
export interface ServedMount extends AsyncDisposable {
  readonly path: string;
}

/** Returns a {@link MountOptions.backend} for `repository` of the registry at `host`. */
export function registryBackend(host: string, repository: string): Record<string, unknown> {
  return { type: "registry", config: { scheme: "http", host, repo: repository } };
}

/** Returns a {@link MountOptions.backend} for a directory of blobs. */
export function folderBackend(dir: string): Record<string, unknown> {
  return { type: "localfs", config: { dir } };
}

export async function mountNydusGd(options: MountOptions): Promise<ServedMount> {
  const config = await prepare(options);
  const { program, bootstrap, dir, fsDriver = "auto" } = options;
  const words = [program, "mount", bootstrap, `${dir}/mnt`, "--config", config, "--fs-driver", fsDriver];
  return await serve(`${dir}/mnt`, dir, words);
}

/** nydusd without prefetch. */
export async function mountNydusd(options: MountOptions): Promise<ServedMount> {
  const config = await prepare({ ...options, prefetches: false });
  const { bootstrap, dir } = options;
  const words = ["nydusd", "--config", config, "--bootstrap", bootstrap, "--mountpoint", `${dir}/mnt`];
  return await serve(`${dir}/mnt`, dir, [...words, "--log-level", "error", "--rlimit-nofile", "0"]);
}

/** Writes the configuration; returns its path. */
async function prepare({ dir, backend, amplifyIo = 0, prefetches = false }: MountOptions): Promise<string> {
  await Deno.mkdir(`${dir}/mnt`, { recursive: true });
  await Deno.mkdir(`${dir}/cache`, { recursive: true });
  const config = {
    device: { backend, cache: { type: "blobcache", config: { work_dir: `${dir}/cache` } } },
    mode: "direct",
    enable_xattr: true,
    amplify_io: amplifyIo,
    fs_prefetch: { enable: prefetches },
  };
  await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify(config));
  return `${dir}/config.json`;
}

async function serve(path: string, dir: string, command: readonly string[]): Promise<ServedMount> {
  const child = new Deno.Command("sh", {
    args: ["-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", `${dir}/log`, ...command],
    stdin: "null",
  }).spawn();
  let ended = false;
  child.status.then(() => ended = true);
  const mount: ServedMount = {
    path,
    async [Symbol.asyncDispose]() {
      if (!ended) child.kill("SIGTERM");
      await child.status;
    },
  };
  const deadline = AbortSignal.timeout(MOUNT_TIMEOUT_MS);
  while (mountAt(path) === undefined) {
    if (ended || deadline.aborted) {
      await mount[Symbol.asyncDispose]();
      const said = (await Deno.readTextFile(`${dir}/log`)).trim();
      throw new NydusGdError("environment", `Cannot mount with ${command[0]}: ${said || "it printed nothing"}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return mount;
}

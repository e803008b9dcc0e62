/**
 * The installation under examination: its configuration as far as it is readable, and objects shared by checks.
 *
 * An invalid file is reported by the configuration checks; the other checks continue with defaults.
 *
 * @module
 */
import type { NydusdConfig } from "../backend/nydusd_config.ts";
import { fetchOptionsOf } from "../backend/http/fetch_options.ts";
import { HttpClient } from "../backend/http/http_client.ts";
import type { BackendDeps } from "../backend/open_backend.ts";
import { certsDirs, Mirrors } from "../backend/registry/certs_dir.ts";
import { dockerConfigDir, DockerKeychain, firstOf } from "../backend/registry/keychain.ts";
import { ignore } from "../base/errors.ts";
import { DEFAULT_SETTINGS, type Settings } from "../base/settings.ts";
import { type ConfigPath, examineNydusdConfig, readSettings } from "../backend/config_files.ts";
import { DockerEngine, dockerHost } from "../image/docker/engine.ts";
import { STATE_FOLDERS } from "../image/gc/state_left_overs.ts";
import { PulledImages } from "../image/lazy/records/pulled_images.ts";
import { type Registration, registrationOf } from "../setup/containerd/containerd_config.ts";
import { CONTAINERD_SOCKET, type ContainerdFiles, readContainerdFiles } from "../setup/containerd/containerd_state.ts";
import { insecureRegistries } from "../setup/docker/docker_registries.ts";
import { Host } from "../setup/host.ts";

/** Location of the installation, as for `serve`. */
export interface InstallationOptions {
  readonly root: string;
  readonly config: ConfigPath;
  readonly settings: ConfigPath;
  /** Graph-driver socket. */
  readonly socket: string;
  readonly adminSocket: string;
  /** "unix:///run/docker.sock"; undefined: the setting, DOCKER_HOST, or Docker's default. */
  readonly dockerHost: string | undefined;
  /** Where the files of units and of containerd are. Default: this machine. */
  readonly host?: Host;
  /** Socket of containerd. Default: that of the machine's. */
  readonly containerdSocket?: string;
}

/** A value, or the error that prevented reading it. */
export type Readable<T> = { readonly value: T } | { readonly error: unknown };

/** No retries: the user wants an immediate answer. */
const RETRIES = 0;
const CONNECT_TIMEOUT_MS = 3_000;

/** The installation under examination. */
export class Installation implements Disposable {
  readonly isRoot = Deno.uid() === 0;

  private constructor(
    readonly options: InstallationOptions,
    readonly settingsFile: Readable<Settings>,
    readonly nydusdFile: Readable<Awaited<ReturnType<typeof examineNydusdConfig>>>,
    readonly docker: DockerEngine,
    /** Logins of Docker's client. */
    readonly logins: DockerKeychain,
    /** Images and logins handed over by `nydus-gd pull`; undefined value if this user may not read them. */
    readonly pulledFiles: Readable<PulledImages | undefined>,
    readonly containerdFiles: Readable<ContainerdFiles>,
    /** As in the daemon: logins of Docker, then those of pulls. */
    readonly deps: BackendDeps & { readonly http: HttpClient },
  ) {}

  /** Reads the configuration. */
  static async take(options: InstallationOptions): Promise<Installation> {
    const settingsFile = await readable(readSettings(options.settings));
    const settings = valueOf(settingsFile) ?? DEFAULT_SETTINGS;
    const limits = { ...settings.fetch, retries: RETRIES, connectTimeoutMs: CONNECT_TIMEOUT_MS };
    const http = new HttpClient(fetchOptionsOf(limits));
    const logins = new DockerKeychain({ configDir: dockerConfigDir(settings.docker.config) });
    const pulledDir = `${options.root}/state/${STATE_FOLDERS.pulled}`;
    const pulledFiles = await readable(ignore(Deno.errors.PermissionDenied, PulledImages.look(pulledDir)));
    const pulled = valueOf(pulledFiles);
    return new Installation(
      options,
      settingsFile,
      await readable(examineNydusdConfig(options.config)),
      new DockerEngine(dockerHost(options.dockerHost, settings.docker.host), http),
      logins,
      pulledFiles,
      await readable(readContainerdFiles(hostOf(options))),
      {
        http,
        keychain: pulled === undefined ? logins : firstOf(logins, pulled.keychain),
        mirrors: new Mirrors(certsDirs(settings.fetch.certsDir)),
        insecure: await insecureRegistries(hostOf(options)),
      },
    );
  }

  /** Settings, or defaults if the file is invalid. */
  get settings(): Settings {
    return valueOf(this.settingsFile) ?? DEFAULT_SETTINGS;
  }

  /** Images and logins handed over by `nydus-gd pull`, as far as they are readable. */
  get pulled(): PulledImages | undefined {
    return valueOf(this.pulledFiles);
  }

  /** nydusd's configuration; undefined if there is none or it is invalid. */
  get config(): NydusdConfig | undefined {
    return valueOf(this.nydusdFile)?.config;
  }

  /** The machine whose files are examined. */
  get host(): Host {
    return hostOf(this.options);
  }

  /** Our snapshotter, as containerd knows it; undefined if it is not set up, or containerd's files are invalid. */
  get snapshotter(): Registration | undefined {
    return registrationOf(valueOf(this.containerdFiles)?.files ?? []);
  }

  /** Name of our graph driver: Docker finds a plugin by the name of its socket. */
  get driverName(): string {
    return this.options.socket.replace(/^.*\//, "").replace(/\.sock$/, "");
  }

  get containerdSocket(): string {
    return this.options.containerdSocket ?? CONTAINERD_SOCKET;
  }

  /** Cache directory, as determined by `serve`. */
  get cacheDir(): string {
    return this.settings.cache.dir ?? this.config?.cache.workDir ?? `${this.options.root}/cache`;
  }

  [Symbol.dispose](): void {
    this.deps.http[Symbol.dispose]();
  }
}

function hostOf({ host = new Host("/") }: InstallationOptions): Host {
  return host;
}

/** Captures the result of a promise. */
export async function readable<T>(promise: Promise<T>): Promise<Readable<T>> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}

function valueOf<T>(file: Readable<T>): T | undefined {
  return "value" in file ? file.value : undefined;
}

/**
 * The interface between commands and their work: typed arguments, and the context of an action.
 *
 * The commands in this folder contain only flags and help texts. Their work is an {@link Action}, which the composition
 * root injects as a {@link Load} function. So `--help` loads none of it, and `lib/cli` never imports `plugin`.
 *
 * @module
 */

import type { FsDriverName, LogFormat, LogLevelName } from "../base/setting_choices.ts";
import type { WrittenCompressor } from "../image/convert/format/rafs_options.ts";

/** Default path of the admin socket, for `serve` and its clients. */
export const ADMIN_SOCKET = "/run/nydus-gd/admin.sock";

/** Standard output or standard error. Writes are synchronous, so nothing is lost when the process exits. */
export interface Output {
  readonly isTerminal: boolean;
  /** The current size of the terminal; undefined if there is none. */
  readonly size?: { readonly columns: number; readonly rows: number } | undefined;
  /** How often something was written: so a display that is redrawn in place notices that others wrote below it. */
  readonly writes?: number;
  /** Writes `text` as is; the caller adds line ends. */
  write(text: string): void;
}

/** Level and format of a log. */
export interface LogStyle {
  readonly level: LogLevelName;
  readonly format: LogFormat;
}

/** The log of this process. */
export interface LogControl extends LogStyle {
  setLevel(level: LogLevelName): void;
  /** Takes over settings, which are read after the command line, as far as that or the environment set nothing else. */
  follow(settings: LogStyle): void;
}

/** The context of an action. */
export interface ActionContext {
  /**
   * Aborted by the first SIGINT or SIGTERM, with a `NydusGdError` "interrupted" as its reason. An action that normally
   * runs until a signal cleans up and returns; any other one cleans up and throws the reason, which exits 130.
   */
  readonly signal: AbortSignal;
  /** For results. */
  readonly stdout: Output;
  /** For progress and remarks. */
  readonly stderr: Output;
  readonly log: LogControl;
}

/** The work of a command. Returns the exit status (3: something was found wrong); undefined means 0. */
export type Action<Args> = (args: Args, context: ActionContext) => Promise<number | void>;

/** Loads the work of a command just before it runs. */
export type Load<Args> = () => Promise<Action<Args>>;

/** A path with a default. Only a path given explicitly must exist. */
export interface PathOption {
  readonly path: string;
  readonly explicit: boolean;
}

/** The paths of an installation. */
export interface InstallationArgs {
  /** Directory of state and cache. */
  readonly root: string;
  /** nydusd's configuration file. */
  readonly config: PathOption;
  /** Settings file of nydus-gd, TOML. */
  readonly settings: PathOption;
  /** Graph-driver socket; its file name without ".sock" is the driver's name. */
  readonly socket: string;
  /** Socket of the admin API: health, metrics and status. */
  readonly adminSocket: string;
}

/** `nydus-gd serve`. */
export interface ServeArgs extends InstallationArgs {
  /** Socket of the proxy snapshotter for containerd. Default: not served. */
  readonly snapshotterSocket?: string;
  /** Socket of nydusd's API for EROFS over fscache. Default: not served. */
  readonly apisock?: string;
  /** Default: the one in the settings. */
  readonly fsDriver?: FsDriverName;
}

/** `nydus-gd mount`. */
export interface MountArgs {
  /** Bootstrap file, blob with an inlined bootstrap, layer tar(.gz) with one, `oci:DIR[:TAG]`, or image reference. */
  readonly bootstrap: string;
  /** The mount point. */
  readonly dir: string;
  /** Folder of data blobs named by their ID. Excludes `config`. */
  readonly blobDir?: string;
  /** nydusd's configuration file, which names the backend. Excludes `blobDir`. */
  readonly config?: string;
  readonly cacheDir?: string;
  /** Default: the one in the settings. */
  readonly fsDriver?: FsDriverName;
  /** Settings file of nydus-gd, TOML. */
  readonly settings: PathOption;
  /** Return once the mount is usable, and leave a process running that serves it. */
  readonly background: boolean;
}

/** An image to read. */
export interface LookArgs {
  /** As {@link MountArgs.bootstrap}. */
  readonly image: string;
  /** Folder of data blobs named by their ID. Excludes `config`. */
  readonly blobDir?: string;
  /** nydusd's configuration file, which names the backend. Excludes `blobDir`. */
  readonly config?: string;
  /** Settings file of nydus-gd, TOML. */
  readonly settings: PathOption;
}

/** `nydus-gd check`. */
export interface CheckArgs extends LookArgs {
  /** Fetch and verify every chunk. */
  readonly blobs: boolean;
  /** The source of the image: `dir:DIR`, `tar:FILE`, `oci:DIR[:TAG]`, `docker:NAME` or an image reference. */
  readonly against?: string;
  /** In the form of DOCKER_HOST. Default: settings, environment. */
  readonly dockerHost?: string;
  readonly output: "text" | "json";
}

/** `nydus-gd inspect`. */
export interface InspectArgs extends LookArgs {
  /** Path in the image. Undefined: describe the whole image. */
  readonly path?: string;
  /** Levels of the tree to show. */
  readonly depth: number;
  readonly output: "text" | "json";
}

/** `nydus-gd unpack`. */
export interface UnpackArgs extends LookArgs {
  /** A folder, `tar:FILE`, or "-" for a tar on standard output. */
  readonly target: string;
  /** Folder of a cache to use and fill. */
  readonly cacheDir?: string;
}

/** `nydus-gd umount`. */
export interface UmountArgs {
  readonly dir: string;
}

/** `nydus-gd status`. */
export interface StatusArgs {
  /** Admin socket of the daemon to query. */
  readonly adminSocket: string;
  readonly output: "text" | "json";
  /** Refresh every second until a signal. */
  readonly watch: boolean;
}

/** `nydus-gd doctor`. */
export interface DoctorArgs extends InstallationArgs {
  /** "unix:///run/docker.sock". Default: settings, environment. */
  readonly dockerHost?: string;
  readonly output: "text" | "json";
}

/** `nydus-gd setup`. */
export interface SetupArgs {
  /** Undo the changes of an earlier setup. */
  readonly undo: boolean;
  readonly dryRun: boolean;
  /** Skip the confirmation. */
  readonly yes: boolean;
  /** Proceed even if something is lost, such as running containers or edits. */
  readonly force: boolean;
  /** Default: containerd for a Docker without graph drivers, else docker. */
  readonly target?: "docker" | "containerd";
  /** "/" for this machine. Otherwise changes only files below it, and no services. */
  readonly prefix: string;
  /** "unix:///run/docker.sock". Default: settings, environment. */
  readonly dockerHost?: string;
}

/** `nydus-gd convert`. */
export interface ConvertArgs {
  /** Image reference, `docker:NAME`, `oci:DIR[:TAG]`, `tar:FILE[:NAME]`, `dir:DIR`. */
  readonly source: string;
  /** Image reference, `oci:DIR[:TAG]`, `tar:FILE`. */
  readonly target: string;
  readonly fsVersion: 5 | 6;
  readonly compressor: WrittenCompressor;
  /** zstd level. Undefined: default. */
  readonly level?: number;
  readonly digester: "blake3" | "sha256";
  /** Bytes. Undefined: default. */
  readonly chunkSize?: number;
  /** Bytes; 0: no batches. Undefined: default. */
  readonly batchSize?: number;
  /** Image whose chunks are reused by reference. */
  readonly chunkDict?: string;
  /** File of path patterns. */
  readonly prefetchPatterns?: string;
  /** Command for the image's shell, whose reads are prefetched first. */
  readonly optimizeRun?: string;
  /** "linux/arm64". Default: all platforms of the source. */
  readonly platform?: string;
  readonly withOci: boolean;
  /** Refer to the original layers. */
  readonly ociRef: boolean;
  /** Allow replacing the source's own name, or a file. */
  readonly force: boolean;
  /** In the form of DOCKER_HOST. Default: settings, environment. */
  readonly dockerHost?: string;
  /** Folder for temporary data and for records of converted layers. */
  readonly workDir?: string;
  readonly output: "text" | "json";
  /** Settings file of nydus-gd, TOML. */
  readonly settings: PathOption;
}

/** Compressors available for conversion. */
export const WRITTEN_COMPRESSORS = ["zstd", "lz4_block", "none"] as const satisfies readonly WrittenCompressor[];

/** `nydus-gd pull`. */
export interface PullArgs {
  /** Image reference in Docker's form. */
  readonly reference: string;
  /** In the form of DOCKER_HOST. Default: settings, environment. */
  readonly dockerHost?: string;
  /** OS/ARCH[/VARIANT]. Default: that of this machine. */
  readonly platform?: string;
  /** Also fetch the data, in the background. */
  readonly prefetch: boolean;
  readonly output: "text" | "json" | "jsonl";
  /** Admin socket of the daemon that will serve the image. */
  readonly adminSocket: string;
  /** nydusd's configuration file, for credentials and backends. */
  readonly config: PathOption;
  /** Settings file of nydus-gd, TOML. */
  readonly settings: PathOption;
}

/** `nydus-gd gc`. */
export interface GcArgs {
  /** Only report what would be freed. */
  readonly dryRun: boolean;
  /** Also remove blobs of images that no container uses. */
  readonly all: boolean;
  readonly output: "text" | "json";
  readonly adminSocket: string;
  /** Root of a daemon that is not running. */
  readonly root: string;
  readonly config: PathOption;
  readonly settings: PathOption;
}

/** `nydus-gd demo` has no options. */
export type DemoArgs = Readonly<Record<never, never>>;

/** The work of all commands except those of the command line itself. A command without an action is not offered. */
export interface Actions {
  readonly serve?: Load<ServeArgs>;
  readonly mount?: Load<MountArgs>;
  readonly umount?: Load<UmountArgs>;
  readonly check?: Load<CheckArgs>;
  readonly inspect?: Load<InspectArgs>;
  readonly unpack?: Load<UnpackArgs>;
  readonly status?: Load<StatusArgs>;
  readonly setup?: Load<SetupArgs>;
  readonly doctor?: Load<DoctorArgs>;
  readonly convert?: Load<ConvertArgs>;
  readonly pull?: Load<PullArgs>;
  readonly gc?: Load<GcArgs>;
  readonly demo?: Load<DemoArgs>;
}

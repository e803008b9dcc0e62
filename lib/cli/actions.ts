/**
 * What a command asks of the rest of the program: its arguments as typed values, and the context that it runs in.
 *
 * The commands of this folder hold flags and help texts only. Their work is an {@link Action} that the composition root
 * injects as a {@link Load} function, so that `--help` loads none of it and `lib/cli` never imports `plugin`.
 *
 * @module
 */

/** Where `serve` listens, and others ask, unless told otherwise. */
export const ADMIN_SOCKET = "/run/nydus-gd/admin.sock";

/** How an image's tree gets into the kernel; "auto" takes the first that this machine allows. */
export const FS_DRIVERS = ["auto", "erofs-fanotify", "erofs-fuse", "erofs-fscache", "fuse"] as const;
export type FsDriverName = (typeof FS_DRIVERS)[number];

/** Log levels from the most to the least talkative, as logtape names them. */
export const LOG_LEVELS = ["trace", "debug", "info", "warning", "error"] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];

/** "auto" is text on a terminal and JSON lines elsewhere. */
export const LOG_FORMATS = ["auto", "text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** One of the two output streams. Writing is synchronous: what was written is out when the process ends. */
export interface Output {
  readonly isTerminal: boolean;
  /** Of the terminal, now; absent where there is none. */
  readonly size?: { readonly columns: number; readonly rows: number } | undefined;
  /** Writes `text` as it is; the caller ends lines. */
  write(text: string): void;
}

/** The log level of this process, for settings that come later than the command line. */
export interface LogControl {
  readonly level: LogLevelName;
  /** True when the command line or the environment named the level: a settings file must not change it then. */
  readonly explicit: boolean;
  setLevel(level: LogLevelName): void;
}

/** What every action gets beside its arguments. */
export interface ActionContext {
  /**
   * Aborted by the first SIGINT or SIGTERM, with a `NydusGdError` "interrupted" as its reason. An action for which a
   * signal is the ordinary end cleans up and returns; any other cleans up and throws the reason, which exits 130.
   */
  readonly signal: AbortSignal;
  /** For results. */
  readonly stdout: Output;
  /** For progress and remarks. */
  readonly stderr: Output;
  readonly log: LogControl;
}

/** The work of a command. A number is the exit status (3: something was found wrong), nothing is 0. */
export type Action<Args> = (args: Args, context: ActionContext) => Promise<number | void>;

/** Loads the work of a command when it is about to run. */
export type Load<Args> = () => Promise<Action<Args>>;

/** A path that has a default: whether it was named decides if its absence is an error. */
export interface PathOption {
  readonly path: string;
  readonly explicit: boolean;
}

/** Where an installation is. */
export interface InstallationArgs {
  /** State and cache of ours. */
  readonly root: string;
  /** nydusd's own configuration. */
  readonly config: PathOption;
  /** Our settings, TOML. */
  readonly settings: PathOption;
  /** Graph driver socket; its file name without ".sock" is the driver's name. */
  readonly socket: string;
  /** Health, metrics and status. */
  readonly adminSocket: string;
}

/** `nydus-gd serve`. */
export interface ServeArgs extends InstallationArgs {
  /** Where nydusd's API for EROFS over fscache is served; absent: nowhere. */
  readonly apisock?: string;
  /** Absent: what the settings say. */
  readonly fsDriver?: FsDriverName;
}

/** `nydus-gd mount`. */
export interface MountArgs {
  /** Bootstrap file, blob with an inlined bootstrap, layer tar(.gz) that holds one, `oci:DIR[:TAG]`, or image reference. */
  readonly bootstrap: string;
  /** Where the tree appears. */
  readonly dir: string;
  /** Folder of data blobs named by their id. Excludes `config`. */
  readonly blobDir?: string;
  /** nydusd's own configuration, which names the backend. Excludes `blobDir`. */
  readonly config?: string;
  readonly cacheDir?: string;
  readonly fsDriver: FsDriverName;
  /** Return when the mount is usable, and leave a process behind that serves it. */
  readonly background: boolean;
}

/** An image that is only looked at. */
export interface LookArgs {
  /** As {@link MountArgs.bootstrap}. */
  readonly image: string;
  /** Folder of data blobs named by their id. Excludes `config`. */
  readonly blobDir?: string;
  /** nydusd's own configuration, which names the backend. Excludes `blobDir`. */
  readonly config?: string;
}

/** `nydus-gd check`. */
export interface CheckArgs extends LookArgs {
  /** Fetch and verify every chunk. */
  readonly blobs: boolean;
  /** `dir:DIR`, `tar:FILE`, `oci:DIR[:TAG]` or an image reference: what the image was made of. */
  readonly against?: string;
  readonly output: "text" | "json";
}

/** `nydus-gd inspect`. */
export interface InspectArgs extends LookArgs {
  /** Of the image's tree; absent: the image as a whole. */
  readonly path?: string;
  /** Levels of the tree that are shown. */
  readonly depth: number;
  readonly output: "text" | "json";
}

/** `nydus-gd unpack`. */
export interface UnpackArgs extends LookArgs {
  /** A folder, `tar:FILE`, or "-" for a tar on standard output. */
  readonly target: string;
  /** A cache that is used and filled. */
  readonly cacheDir?: string;
}

/** `nydus-gd umount`. */
export interface UmountArgs {
  readonly dir: string;
}

/** `nydus-gd status`. */
export interface StatusArgs {
  /** Admin socket of the daemon to ask. */
  readonly adminSocket: string;
  readonly output: "text" | "json";
  /** Show it again every second until a signal. */
  readonly watch: boolean;
}

/** `nydus-gd doctor`. */
export interface DoctorArgs extends InstallationArgs {
  /** "unix:///run/docker.sock"; absent: what settings and environment say. */
  readonly dockerHost?: string;
  readonly output: "text" | "json";
}

/** `nydus-gd setup`. */
export interface SetupArgs {
  /** Put everything back. */
  readonly undo: boolean;
  readonly dryRun: boolean;
  /** Do not ask. */
  readonly yes: boolean;
  /** Also where somebody loses something. */
  readonly force: boolean;
  readonly target: "docker" | "containerd";
  /** "/" for this machine; else the files below it are changed and no service. */
  readonly prefix: string;
  /** "unix:///run/docker.sock"; absent: what settings and environment say. */
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
  /** Of zstd; absent: the default. */
  readonly level?: number;
  readonly digester: "blake3" | "sha256";
  /** Bytes; absent: the default. */
  readonly chunkSize?: number;
  /** Bytes, 0 for none; absent: the default. */
  readonly batchSize?: number;
  /** Images whose chunks are referred to. */
  readonly chunkDict?: string;
  /** File of patterns. */
  readonly prefetchPatterns?: string;
  /** For the image's shell: what it reads is fetched first. */
  readonly optimizeRun?: string;
  /** "linux/arm64"; absent: all that the source has. */
  readonly platform?: string;
  readonly withOci: boolean;
  /** Replace the source's own name, or a file. */
  readonly force: boolean;
  /** As DOCKER_HOST has it; absent: settings, environment, default. */
  readonly dockerHost?: string;
  /** Folder for what is on its way and for records of what was converted. */
  readonly workDir?: string;
  readonly output: "text" | "json";
}

/** Compressions that are written. */
export const WRITTEN_COMPRESSORS = ["zstd", "lz4_block", "none"] as const;
export type WrittenCompressor = (typeof WRITTEN_COMPRESSORS)[number];

/** `nydus-gd pull`. */
export interface PullArgs {
  /** Image reference as Docker writes it. */
  readonly reference: string;
  /** As DOCKER_HOST has it; absent: settings, environment, default. */
  readonly dockerHost?: string;
  /** OS/ARCH[/VARIANT]; absent: this machine's. */
  readonly platform?: string;
  /** Fetch the rest as well, in the background. */
  readonly prefetch: boolean;
  readonly output: "text" | "json" | "jsonl";
  /** Admin socket of the daemon that will serve the image. */
  readonly adminSocket: string;
  /** nydusd's own configuration, for logins and backends. */
  readonly config: PathOption;
  /** Our settings, TOML. */
  readonly settings: PathOption;
}

/** `nydus-gd gc`. */
export interface GcArgs {
  /** Tell what would be freed. */
  readonly dryRun: boolean;
  /** Blobs of images that no container uses go as well. */
  readonly all: boolean;
  readonly output: "text" | "json";
  readonly adminSocket: string;
  /** Of a daemon that does not run. */
  readonly root: string;
  readonly config: PathOption;
  readonly settings: PathOption;
}

/** `nydus-gd demo` has no options. */
export type DemoArgs = Readonly<Record<never, never>>;

/** The work of every command that is not the command line's own. A command without its action is not offered. */
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

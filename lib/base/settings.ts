/**
 * Settings of this program: /etc/nydus-gd/settings.toml and `NYDUS_GD_*`, which override the file.
 *
 * ```toml
 * [cache]
 * max_size = "80%"        # NYDUS_GD_CACHE_MAX_SIZE; also "10GiB", or bytes
 * [fetch]
 * read_timeout = "30s"    # also "500ms", "2m", or seconds
 * ```
 * Unknown keys and invalid values are errors that name the key and its line; they are never ignored. The same holds for
 * variables that begin like those of a section, such as `NYDUS_GD_CACHE_`.
 *
 * @throws {NydusGdError} "config": `Cannot read settings /etc/…: line 3: cache.max_size must be …`
 * @module
 */
import { parse as parseToml, TomlError } from "smol-toml";
import { NydusGdError } from "./errors.ts";
import {
  FS_DRIVERS,
  type FsDriverName,
  LOG_FORMATS,
  LOG_LEVELS,
  type LogFormat,
  type LogLevelName,
} from "./setting_choices.ts";
import {
  absolutePath,
  boolean,
  bytes,
  choice,
  count,
  duration,
  hostAndPort,
  hosts,
  ratePerSecond,
  type Reader,
  size,
  type SizeLimit,
  text,
} from "./setting_values.ts";
import { lineOf } from "./toml_lines.ts";

/** All settings, with defaults applied. Undefined values are decided by their consumers. */
export interface Settings {
  readonly cache: {
    /** Absolute. Undefined: nydusd's work_dir, or else below the root directory. */
    readonly dir: string | undefined;
    readonly maxSize: SizeLimit;
    readonly minFree: SizeLimit;
  };
  readonly mount: {
    readonly fsDriver: FsDriverName;
    readonly workers: number;
  };
  readonly fetch: {
    readonly parallelPerHost: number;
    readonly connectTimeoutMs: number;
    /**
     * Timeout for a server that is silent or sends next to nothing; at most a quarter of the deadline, so that a dead
     * connection is replaced in time.
     */
    readonly readTimeoutMs: number;
    readonly retries: number;
    /** How long a program waits for data that are not cached, including all attempts, before it gets EIO. */
    readonly deadlineMs: number;
    /** Registries, as HOST or HOST:PORT, contacted without restrictions even if only an image names them. */
    readonly trustedOrigins: readonly string[];
    /** Directory with registry mirror configurations. Undefined: our own, then containerd's. */
    readonly certsDir: string | undefined;
  };
  readonly prefetch: {
    readonly enabled: boolean;
    /** Bytes per second; undefined: the bandwidth left by on-demand reads. */
    readonly bandwidth: number | undefined;
    readonly learned: boolean;
    /** Maximum bytes of read-ahead per read; 0 disables it. Undefined: decided by its consumer. */
    readonly readAheadBytes: number | undefined;
  };
  readonly docker: {
    readonly host: string | undefined;
    /** Directory of Docker's client configuration. */
    readonly config: string | undefined;
  };
  readonly log: {
    readonly level: LogLevelName;
    readonly format: LogFormat;
  };
  readonly metrics: {
    /** HOST:PORT; undefined: the admin socket only. */
    readonly listen: string | undefined;
  };
}

/** Settings used when neither file nor environment specify them. */
export const DEFAULT_SETTINGS: Settings = {
  cache: { dir: undefined, maxSize: { percent: 80 }, minFree: { percent: 5 } },
  mount: { fsDriver: "auto", workers: 2 },
  fetch: {
    parallelPerHost: 8,
    connectTimeoutMs: 5_000,
    readTimeoutMs: 30_000,
    retries: 3,
    deadlineMs: 60_000,
    trustedOrigins: [],
    certsDir: undefined,
  },
  prefetch: { enabled: true, bandwidth: undefined, learned: true, readAheadBytes: undefined },
  docker: { host: undefined, config: undefined },
  log: { level: "info", format: "auto" },
  metrics: { listen: undefined },
};

/** Target of a key's value, and its parser. */
interface Key {
  readonly section: keyof Settings;
  readonly property: string;
  readonly read: Reader<unknown>;
}

const key = <S extends keyof Settings, P extends keyof Settings[S] & string>(
  section: S,
  property: P,
  read: Reader<Settings[S][P]>,
): Key => ({ section, property, read });

const KEYS: ReadonlyMap<string, Key> = new Map([
  ["cache.dir", key("cache", "dir", absolutePath)],
  ["cache.max_size", key("cache", "maxSize", size)],
  ["cache.min_free", key("cache", "minFree", size)],
  ["mount.fs_driver", key("mount", "fsDriver", choice(FS_DRIVERS))],
  ["mount.workers", key("mount", "workers", count(1, 16))],
  ["fetch.parallel_per_host", key("fetch", "parallelPerHost", count(1, 256))],
  ["fetch.connect_timeout", key("fetch", "connectTimeoutMs", duration)],
  ["fetch.read_timeout", key("fetch", "readTimeoutMs", duration)],
  ["fetch.retries", key("fetch", "retries", count(0, 20))],
  ["fetch.deadline", key("fetch", "deadlineMs", duration)],
  ["fetch.trusted_origins", key("fetch", "trustedOrigins", hosts)],
  ["fetch.certs_dir", key("fetch", "certsDir", absolutePath)],
  ["prefetch.enabled", key("prefetch", "enabled", boolean)],
  ["prefetch.bandwidth", key("prefetch", "bandwidth", ratePerSecond)],
  ["prefetch.learned", key("prefetch", "learned", boolean)],
  ["prefetch.read_ahead", key("prefetch", "readAheadBytes", bytes)],
  ["docker.host", key("docker", "host", text)],
  ["docker.config", key("docker", "config", absolutePath)],
  ["log.level", key("log", "level", choice(LOG_LEVELS))],
  ["log.format", key("log", "format", choice(LOG_FORMATS))],
  ["metrics.listen", key("metrics", "listen", hostAndPort)],
]);

/** Names of all settings as in the file: "cache.max_size". */
export const SETTING_NAMES: readonly string[] = [...KEYS.keys()];

/** Environment variable of a setting: "cache.max_size" is NYDUS_GD_CACHE_MAX_SIZE. */
export function environmentName(name: string): string {
  return `NYDUS_GD_${name.replace(".", "_").toUpperCase()}`;
}

/** What variables of settings begin with: "NYDUS_GD_CACHE_". */
const VARIABLE_PREFIXES = Object.keys(DEFAULT_SETTINGS).map((section) => environmentName(`${section}.`));

/**
 * Parses settings from the file's text and the environment. An empty variable counts as unset.
 *
 * @param path for error messages only
 */
export function parseSettings(
  toml: string,
  environment: Readonly<Record<string, string | undefined>>,
  path: string,
): Settings {
  const values = new Map<string, unknown>();
  for (const [name, value] of flatten(parseDocument(toml, path))) {
    const known = KEYS.get(name);
    if (known === undefined) {
      const isSection = Object.hasOwn(DEFAULT_SETTINGS, name);
      const state = isSection ? "must be a table" : `is not known${suggestionFor(name)}`;
      throw refused(path, toml, name, state);
    }
    const result = known.read(value);
    if (!result.ok) throw refused(path, toml, name, result.state);
    values.set(name, result.value);
  }
  for (const [name, value] of settingsOf(environment)) values.set(name, value);
  return assemble(values);
}

/** Yields name and value of each setting in the environment. */
function* settingsOf(
  environment: Readonly<Record<string, string | undefined>>,
): Iterable<[name: string, value: unknown]> {
  const names = new Map(SETTING_NAMES.map((name) => [environmentName(name), name]));
  for (const [variable, value] of Object.entries(environment)) {
    if (!value || !VARIABLE_PREFIXES.some((prefix) => variable.startsWith(prefix))) continue;
    const refuse = (state: string) =>
      new NydusGdError("config", `Cannot use ${variable}: ${state}`, { hint: `unset ${variable}` });
    const name = names.get(variable);
    if (name === undefined) throw refuse(`there is no such setting${suggestionFor(variable, [...names.keys()])}`);
    const result = (KEYS.get(name) as Key).read(value);
    if (!result.ok) throw refuse(`it ${result.state}`);
    yield [name, result.value];
  }
}

function assemble(values: ReadonlyMap<string, unknown>): Settings {
  const settings = structuredClone(DEFAULT_SETTINGS) as unknown as Record<string, Record<string, unknown>>;
  for (const [name, value] of values) {
    const { section, property } = KEYS.get(name) as Key;
    (settings[section] as Record<string, unknown>)[property] = value;
  }
  return settings as unknown as Settings;
}

function parseDocument(toml: string, path: string): Record<string, unknown> {
  try {
    return parseToml(toml);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n", 1)[0]?.replace(/^Invalid TOML document: /, "") ?? "it is not valid TOML";
    throw new NydusGdError("config", `Cannot read settings ${path}: line ${error.line}: ${what}`, { cause: error });
  }
}

/** Yields `section.key` and value. Anything outside a known section is yielded under its own name, to be rejected. */
function* flatten(document: Record<string, unknown>): Iterable<[name: string, value: unknown]> {
  for (const [section, table] of Object.entries(document)) {
    if (typeof table === "object" && table !== null && !Array.isArray(table) && !(table instanceof Date)) {
      if (!Object.hasOwn(DEFAULT_SETTINGS, section)) yield [section, table];
      for (const [key, value] of Object.entries(table)) yield [`${section}.${key}`, value];
    } else yield [section, table];
  }
}

function refused(path: string, toml: string, name: string, state: string): NydusGdError {
  const line = lineOf(toml, name);
  const where = line === undefined ? "" : `line ${line}: `;
  return new NydusGdError("config", `Cannot read settings ${path}: ${where}${name} ${state}`);
}

/** Suggests the name with the same letters, for typos such as `cache.maxsize`. */
function suggestionFor(name: string, names = SETTING_NAMES): string {
  const letters = (word: string) => word.toLowerCase().replace(/[^a-z]/g, "");
  const last = (word: string) => word.split(".").at(-1) ?? word;
  const similar = names.find((known) => letters(known) === letters(name)) ??
    names.find((known) => letters(last(known)) === letters(last(name)));
  return similar === undefined ? "" : `, did you mean ${similar}`;
}

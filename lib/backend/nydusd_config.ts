/**
 * Parser of nydusd's configuration file: v2 as JSON or TOML, v1 ("factory") as JSON.
 *
 * ```ts
 * const config = parseNydusdConfig(await Deno.readTextFile("/var/lib/nydus/config.json"));
 * for (const warning of config.warnings) log.warn(warning);
 * const backend = openBackend(config.backend, deps);
 * ```
 * Both forms yield the same {@link NydusdConfig}; where their defaults differ (`prefetch_all`), each keeps its own.
 * Unknown keys are ignored, as in nydusd, and reported as warnings. The parser is pure and does no I/O. Source:
 * dragonflyoss/nydus 34e6071e, api/src/config.rs.
 *
 * @throws {NydusGdError} "config": `Cannot read configuration: device.backend.config.host is missing`
 * @module
 */
import { parse as parseToml, TomlError } from "smol-toml";
import type * as v from "valibot";
import { NydusGdError } from "../base/errors.ts";
import { formatPath, parseWith, type Path, unknownKeys } from "../base/schema.ts";
import { BACKEND_SCHEMAS, type BackendConfig, type BackendType, normalizeBackend } from "./backend_config.ts";
import {
  type CacheType,
  type FileCacheSection,
  MAX_BATCH,
  MAX_BATCH_WORDS,
  MAX_THREADS,
  V1,
  V2,
} from "./nydusd_schema.ts";

/** Maximum size of the file in bytes, as in nydusd. */
export const MAX_CONFIG_BYTES = 1 << 20;

/** Cache settings. */
export interface CacheConfig {
  /** "dummycache": no caching. Undefined: not configured. */
  readonly type: "filecache" | "fscache" | "dummycache" | undefined;
  /** As configured, possibly relative. Undefined: not configured. */
  readonly workDir: string | undefined;
  /** Whether to verify chunk digests. nydus-gd always does. */
  readonly validate: boolean;
  /** Whether to store chunks compressed. */
  readonly compressed: boolean;
  readonly disableIndexedMap: boolean;
  /** Whether to encrypt cache files with one key. */
  readonly encrypted: boolean;
  /** Whether to encrypt each cached chunk with its digest as the key. */
  readonly convergentEncryption: boolean;
}

/** Prefetch settings. */
export interface PrefetchConfig {
  /** The section of the file that they come from. */
  readonly section: "fs_prefetch" | "rafs.prefetch" | "cache.prefetch";
  /** Whether that section is present. */
  readonly configured: boolean;
  readonly enable: boolean;
  readonly threads: number;
  /** Maximum bytes per request. */
  readonly batchSizeBytes: number;
  /** Bytes per second; 0: no limit. */
  readonly bandwidthLimit: number;
  /** Whether to prefetch the whole image, not only what it lists. */
  readonly prefetchAll: boolean;
  readonly streamPrefetch: boolean;
}

/** Settings of the file system. */
export interface RafsConfig {
  readonly mode: "direct" | "cached";
  /** Bytes to which a read may be extended; 0: no extension. */
  readonly batchSizeBytes: number;
  readonly validate: boolean;
  readonly enableXattr: boolean;
  readonly iostatsFiles: boolean;
  readonly accessPattern: boolean;
  readonly latestReadFiles: boolean;
}

/** A configuration file of either version. */
export interface NydusdConfig {
  readonly version: 1 | 2;
  readonly id: string;
  readonly backend: BackendConfig;
  readonly cache: CacheConfig;
  readonly prefetch: PrefetchConfig;
  readonly rafs: RafsConfig;
  readonly hasExternalBackends: boolean;
  /** v2: whether nydusd's own writable layer is configured. */
  readonly hasOverlay: boolean;
  /** Complete sentences about what was ignored. */
  readonly warnings: readonly string[];
}

/** Parses a configuration file, v1 or v2. */
export function parseNydusdConfig(text: string): NydusdConfig {
  if (text.length > MAX_CONFIG_BYTES) throw wrong(`it is larger than ${MAX_CONFIG_BYTES} bytes`);
  const document = parseDocument(text);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw wrong("it is not an object");
  }
  return "version" in document ? readV2(document) : readV1(document);
}

/** Parses text that looks like JSON as JSON and anything else as TOML, so that errors name the right format. */
function parseDocument(text: string): unknown {
  if (text.trim() === "") throw wrong("it is empty");
  // JSON parsers quote the offending text, which may be a secret, so the error gives only the position.
  if (/^\s*[{["]/.test(text.replace(/^\uFEFF/, ""))) {
    try {
      return JSON.parse(text.replace(/^\uFEFF/, ""));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      // "[backend]" starts a TOML table but no valid configuration in JSON.
      if (!/^\s*\[/.test(text)) {
        const place = /position \d+|line \d+ column \d+/.exec(error.message)?.[0];
        throw wrong(`it is not valid JSON${place === undefined ? "" : ` (${place})`}`);
      }
    }
  }
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw wrong(`it is neither JSON nor valid TOML (line ${error.line} column ${error.column})`);
  }
}

function readV1(document: unknown): NydusdConfig {
  const { device, ...rafs } = accept(V1, document, []);
  const warnings = warningsOf(V1, document, []);
  const prefetch = rafs.fs_prefetch;
  return {
    version: 1,
    id: device.id,
    backend: readBackend(device.backend.type, device.backend.config, ["device", "backend", "config"], warnings),
    cache: readCache(device.cache.type, device.cache.compressed, device.cache.validate, device.cache.config),
    prefetch: readPrefetch({
      section: "fs_prefetch",
      configured: Object.hasOwn(document as object, "fs_prefetch"),
      enable: prefetch.enable,
      threads: prefetch.threads_count,
      batchSizeBytes: prefetch.merging_size,
      bandwidthLimit: prefetch.bandwidth_rate,
      prefetchAll: prefetch.prefetch_all,
      streamPrefetch: prefetch.stream_prefetch,
    }, { threads: "threads_count", batch: "merging_size" }),
    rafs: readRafs({ ...rafs, batch_size: rafs.amplify_io, validate: rafs.digest_validate }),
    hasExternalBackends: device.external_backends.length > 0,
    hasOverlay: false,
    warnings,
  };
}

function readV2(document: unknown): NydusdConfig {
  const { id, backend, external_backends, cache, rafs, overlay } = accept(V2, document, []);
  const warnings = warningsOf(V2, document, []);
  const sections = backend as Record<string, unknown>;
  // In nydusd, cache.prefetch applies to block devices and rafs.prefetch to mounts. The enabled one counts.
  const [prefetch, place] = rafs.prefetch?.enable || cache.prefetch === undefined
    ? [rafs.prefetch, "rafs.prefetch"] as const
    : [cache.prefetch, "cache.prefetch"] as const;
  const section = cache.type === "fscache" ? { work_dir: cache.fscache?.work_dir ?? "" } : cache.filecache;
  return {
    version: 2,
    id,
    backend: readBackend(backend.type, sections[backend.type], ["backend", backend.type], warnings),
    cache: readCache(cache.type, cache.compressed, cache.validate, section),
    prefetch: readPrefetch({
      section: place,
      configured: prefetch !== undefined,
      enable: prefetch?.enable ?? false,
      threads: prefetch?.threads ?? 8,
      batchSizeBytes: prefetch?.batch_size ?? 1 << 20,
      bandwidthLimit: prefetch?.bandwidth_limit ?? 0,
      prefetchAll: prefetch?.prefetch_all ?? false,
      streamPrefetch: prefetch?.stream_prefetch ?? false,
    }, { threads: "threads", batch: "batch_size" }),
    rafs: readRafs(rafs),
    hasExternalBackends: external_backends.length > 0,
    hasOverlay: overlay !== undefined && overlay !== null,
    warnings,
  };
}

function readBackend(type: BackendType, input: unknown, path: Path, warnings: string[]): BackendConfig {
  const schema = BACKEND_SCHEMAS[type];
  const raw = accept(schema, input, path);
  warnings.push(...warningsOf(schema, input, path));
  const config = normalizeBackend(type, raw);
  if (typeof config === "string") throw wrong(`${formatPath(path)} ${config}`);
  return config;
}

/** @param keys names of the limited keys in their section */
function readPrefetch(prefetch: PrefetchConfig, keys: { threads: string; batch: string }): PrefetchConfig {
  if (!prefetch.enable) return prefetch;
  if (prefetch.threads < 1 || prefetch.threads > MAX_THREADS) {
    throw wrong(`${prefetch.section}.${keys.threads} must be 1 to ${MAX_THREADS}`);
  }
  if (prefetch.batchSizeBytes > MAX_BATCH) throw wrong(`${prefetch.section}.${keys.batch} ${MAX_BATCH_WORDS}`);
  return prefetch;
}

function readCache(
  type: CacheType,
  compressed: boolean,
  validate: boolean,
  section: Partial<FileCacheSection> | null | undefined,
): CacheConfig {
  return {
    type: type === "" ? undefined : type === "blobcache" ? "filecache" : type,
    workDir: section?.work_dir || undefined,
    validate,
    compressed,
    disableIndexedMap: section?.disable_indexed_map ?? false,
    encrypted: section?.enable_encryption ?? false,
    convergentEncryption: section?.enable_convergent_encryption ?? false,
  };
}

function readRafs(raw: Omit<v.InferOutput<typeof V2>["rafs"], "prefetch">): RafsConfig {
  return {
    mode: raw.mode,
    batchSizeBytes: raw.batch_size,
    validate: raw.validate,
    enableXattr: raw.enable_xattr,
    iostatsFiles: raw.iostats_files,
    accessPattern: raw.access_pattern,
    latestReadFiles: raw.latest_read_files,
  };
}

function accept<S extends v.GenericSchema>(schema: S, input: unknown, path: Path): v.InferOutput<S> {
  const result = parseWith(schema, input, path);
  if (!result.ok) throw wrong(`${formatPath(result.path)} ${result.state}`);
  return result.value;
}

function warningsOf(schema: v.GenericSchema, input: unknown, path: Path): string[] {
  return unknownKeys(schema, input, path).map(ignored);
}

function ignored(path: Path): string {
  return `Configuration key ${formatPath(path)} is unknown and ignored`;
}

function wrong(state: string): NydusGdError {
  return new NydusGdError("config", `Cannot read configuration: ${state}`);
}

/**
 * Schemas and normalized forms of the backends in nydusd's configuration.
 *
 * The schemas keep nydusd's key names, types and defaults; v1 (`device.backend.config`) and v2 (`backend.<type>`) share
 * them. Times are in seconds there and in milliseconds here; 0 means "no limit". Source: dragonflyoss/nydus 34e6071e,
 * api/src/config.rs.
 *
 * @module
 */
import * as v from "valibot";
import type { ProxyConfig } from "./http/backend_proxy.ts";
import { parseProxyAddress } from "./http/proxy.ts";

/** All backend types of nydusd. */
export const BACKEND_TYPES = ["localfs", "localdisk", "oss", "s3", "registry", "http-proxy"] as const;
export type BackendType = (typeof BACKEND_TYPES)[number];

/** Values of keys anywhere in the file: text and flags may be missing. */
export const text = v.optional(v.string(), "");
export const flag = v.optional(v.boolean(), false);
export const count = v.pipe(v.number(), v.integer("must be an integer"), v.minValue(0, "must not be negative"));
/** A required, non-empty string. */
const required = v.pipe(v.string(), v.nonEmpty("is empty"));
const seconds = v.pipe(v.number(), v.integer("must be whole seconds"), v.minValue(0, "must not be negative"));

const NO_URL = "is not an http:// or https:// URL";
const isHttp = (text: string) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);

const proxySchema = v.object({
  url: v.optional(v.pipe(v.string(), v.check((url) => url === "" || parseProxyAddress(url) !== undefined, NO_URL)), ""),
  ping_url: v.optional(v.pipe(v.string(), v.check((url) => url === "" || isHttp(url), NO_URL)), ""),
  fallback: v.optional(v.boolean(), true),
  check_interval: v.optional(seconds, 5),
  use_http: flag,
  check_pause_elapsed: v.optional(seconds, 300),
  dragonfly_scheduler_endpoint: text,
});

/** Keys common to all HTTP backends. */
const httpEntries = {
  skip_verify: flag,
  ca_cert_files: v.optional(v.array(required), []),
  timeout: v.optional(seconds),
  connect_timeout: v.optional(seconds),
  retry_limit: v.optional(count),
  proxy: v.optional(proxySchema, {}),
};

/** Applies where the configured host carries no scheme. */
const scheme = v.optional(v.picklist(["https", "http", ""]), "");

/** One schema per backend type. */
export const BACKEND_SCHEMAS = {
  localfs: v.object({ blob_file: text, dir: text, alt_dirs: v.optional(v.array(required), []) }),
  localdisk: v.object({ device_path: required, disable_gpt: flag }),
  oss: v.object({
    ...httpEntries,
    scheme,
    endpoint: required,
    bucket_name: required,
    object_prefix: text,
    access_key_id: text,
    access_key_secret: text,
  }),
  s3: v.object({
    ...httpEntries,
    scheme,
    endpoint: v.string(),
    region: required,
    bucket_name: required,
    object_prefix: text,
    access_key_id: text,
    access_key_secret: text,
  }),
  registry: v.object({
    ...httpEntries,
    scheme,
    host: required,
    repo: required,
    auth: v.nullish(v.string(), ""),
    registry_token: v.nullish(v.string(), ""),
    blob_url_scheme: v.optional(v.picklist(["https", "http", ""]), ""),
    blob_redirected_host: text,
  }),
  "http-proxy": v.object({ ...httpEntries, addr: required, path: text }),
} as const satisfies Record<BackendType, v.GenericSchema>;

/** How to reach an HTTP backend. */
export interface HttpConfig {
  readonly skipVerify: boolean;
  /** PEM files, trusted in addition to the system's roots. */
  readonly caCertFiles: readonly string[];
  /** Limit of a whole request. Undefined: not configured. 0: no limit. */
  readonly timeoutMs: number | undefined;
  readonly connectTimeoutMs: number | undefined;
  /** Undefined: not configured. */
  readonly retryLimit: number | undefined;
  readonly proxy: ProxyConfig;
}

/** An HTTP backend whose host is configured without a scheme. */
interface NamedHostConfig extends HttpConfig {
  /** Undefined: https, with a fallback to plain HTTP for a registry on loopback. */
  readonly scheme: "https" | "http" | undefined;
}

/** Files in folders, named by blob ID, or one file for every ID. */
export interface LocalFsConfig {
  readonly type: "localfs";
  /** Takes precedence over the folders. */
  readonly blobFile: string | undefined;
  /** Undefined only if `blobFile` is set. */
  readonly dir: string | undefined;
  readonly altDirs: readonly string[];
}

/** A block device with one blob in each partition. */
export interface LocalDiskConfig {
  readonly type: "localdisk";
  readonly devicePath: string;
  readonly disableGpt: boolean;
}

/** A bucket; the key of a blob is `objectPrefix` followed by the blob ID. */
export interface ObjectStoreConfig extends NamedHostConfig {
  readonly type: "oss" | "s3";
  readonly endpoint: string;
  /** S3 only. */
  readonly region: string | undefined;
  readonly bucketName: string;
  readonly objectPrefix: string;
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
}

/** One repository of an OCI registry. */
export interface RegistryConfig extends NamedHostConfig {
  readonly type: "registry";
  /** "registry.example.com", "127.0.0.1:5000". */
  readonly host: string;
  /** "library/nginx". */
  readonly repo: string;
  /** Base64 of "user:password". */
  readonly auth: string | undefined;
  /** The initial bearer token. */
  readonly registryToken: string | undefined;
  /** Scheme and host to substitute in redirect targets. */
  readonly blobUrlScheme: "https" | "http" | undefined;
  readonly blobRedirectedHost: string | undefined;
}

/** Serves blobs at `<addr><path>/<blob id>`. */
export interface HttpProxyConfig extends HttpConfig {
  readonly type: "http-proxy";
  readonly addr: string;
  readonly path: string;
}

/** Configuration of any backend. */
export type BackendConfig = LocalFsConfig | LocalDiskConfig | ObjectStoreConfig | RegistryConfig | HttpProxyConfig;

type Raw<T extends BackendType> = v.InferOutput<(typeof BACKEND_SCHEMAS)[T]>;
type RawHttp = Pick<Raw<"registry">, keyof typeof httpEntries>;

/**
 * Converts the output of {@link BACKEND_SCHEMAS} for `type`. Returns a string that says what is wrong where keys
 * contradict each other.
 */
export function normalizeBackend(type: BackendType, raw: Raw<BackendType>): BackendConfig | string {
  switch (type) {
    case "localfs": {
      const { blob_file, dir, alt_dirs } = raw as Raw<"localfs">;
      if (blob_file === "" && dir === "") return "has neither dir nor blob_file";
      return { type, blobFile: blob_file || undefined, dir: dir || undefined, altDirs: alt_dirs };
    }
    case "localdisk": {
      const { device_path, disable_gpt } = raw as Raw<"localdisk">;
      return { type, devicePath: device_path, disableGpt: disable_gpt };
    }
    case "oss":
    case "s3": {
      const keys = raw as Raw<"oss"> & Partial<Raw<"s3">>;
      return {
        type,
        ...normalizeHttp(keys),
        scheme: keys.scheme || undefined,
        endpoint: keys.endpoint || amazonEndpoint(keys.region),
        region: keys.region,
        bucketName: keys.bucket_name,
        objectPrefix: keys.object_prefix,
        accessKeyId: keys.access_key_id,
        accessKeySecret: keys.access_key_secret,
      };
    }
    case "registry":
      return normalizeRegistry(raw as Raw<"registry">);
    case "http-proxy": {
      const keys = raw as Raw<"http-proxy">;
      return { type, ...normalizeHttp(keys), addr: keys.addr, path: keys.path };
    }
  }
}

/** Amazon's regional endpoint. s3.amazonaws.com answers path-style requests only for buckets of its home region. */
function amazonEndpoint(region: string | undefined): string {
  if (region === undefined || region === "us-east-1") return "s3.amazonaws.com";
  return `s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

function normalizeRegistry(raw: Raw<"registry">): RegistryConfig | string {
  if (/[/@?#\s]/.test(raw.host)) return "has a host that is not HOST or HOST:PORT";
  if (raw.auth !== "" && decodeAuth(raw.auth) === undefined) return "has an auth that is not base64 of user:password";
  return {
    type: "registry",
    ...normalizeHttp(raw),
    scheme: raw.scheme || undefined,
    host: raw.host,
    repo: raw.repo,
    auth: raw.auth || undefined,
    registryToken: raw.registry_token || undefined,
    blobUrlScheme: raw.blob_url_scheme || undefined,
    blobRedirectedHost: raw.blob_redirected_host || undefined,
  };
}

function normalizeHttp(raw: RawHttp): HttpConfig {
  const { proxy } = raw;
  return {
    skipVerify: raw.skip_verify,
    caCertFiles: raw.ca_cert_files,
    timeoutMs: toMs(raw.timeout),
    connectTimeoutMs: toMs(raw.connect_timeout),
    retryLimit: raw.retry_limit,
    proxy: {
      address: proxy.url === "" ? undefined : parseProxyAddress(proxy.url),
      pingUrl: proxy.ping_url === "" ? undefined : new URL(proxy.ping_url),
      fallback: proxy.fallback,
      checkIntervalMs: proxy.check_interval * 1000,
      useHttp: proxy.use_http,
      checkPauseElapsedMs: proxy.check_pause_elapsed * 1000,
      dragonflySchedulerEndpoint: proxy.dragonfly_scheduler_endpoint,
    },
  };
}

/** The maximum delay of a timer; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function toMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.min(seconds * 1000, MAX_TIMER_MS);
}

/** Decodes base64 of "user:password"; undefined if it is malformed. */
export function decodeAuth(auth: string): { user: string; password: string } | undefined {
  let plain: string;
  try {
    plain = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(auth.trim()));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
  const colon = plain.indexOf(":");
  if (colon < 0) return undefined;
  return { user: plain.slice(0, colon), password: plain.slice(colon + 1) };
}

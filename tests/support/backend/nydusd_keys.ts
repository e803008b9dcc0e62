/**
 * Every key of nydusd's configuration and how it is treated here, for tests of the keys and of their documentation.
 *
 * @module
 */
import * as v from "valibot";
import { BACKEND_SCHEMAS, type BackendType } from "../../../lib/backend/backend_config.ts";
import { V1, V2 } from "../../../lib/backend/nydusd_schema.ts";

/**
 * "honoured": it takes effect. "warned": it has no effect, and a warning says so. "refused": it is not supported, and an
 * error says so. "needed": it is required.
 */
export type Fate = "honoured" | "warned" | "refused" | "needed";

/** A key, a meaningful value, and a wrong one. */
export interface KeyCase {
  /** "device.cache.compressed", or relative to the section of a backend: "proxy.url". */
  readonly key: string;
  readonly fate: Fate;
  readonly value: unknown;
  readonly wrong: unknown;
}

const flag = (key: string, fate: Fate = "honoured", value = true): KeyCase => ({ key, fate, value, wrong: "yes" });
const count = (key: string, fate: Fate = "honoured", value = 7): KeyCase => ({ key, fate, value, wrong: -1 });
const text = (key: string, fate: Fate = "honoured", value = "text"): KeyCase => ({ key, fate, value, wrong: 7 });
const seconds = (key: string): KeyCase => ({ key, fate: "honoured", value: 9, wrong: 0.5 });

const PROXY = [
  text("proxy.url", "honoured", "http://proxy:3128"),
  text("proxy.ping_url", "honoured", "http://proxy:3128/ping"),
  flag("proxy.fallback", "honoured", false),
  seconds("proxy.check_interval"),
  flag("proxy.use_http"),
  seconds("proxy.check_pause_elapsed"),
  text("proxy.dragonfly_scheduler_endpoint", "refused"),
];
const HTTP = [
  flag("skip_verify"),
  { key: "ca_cert_files", fate: "honoured", value: ["/ca.pem"], wrong: [""] },
  seconds("timeout"),
  seconds("connect_timeout"),
  count("retry_limit", "warned", 0),
  ...PROXY,
] as const satisfies KeyCase[];
const scheme: KeyCase = { key: "scheme", fate: "honoured", value: "http", wrong: "ftp" };
const BUCKET = [
  ...HTTP,
  scheme,
  text("bucket_name", "needed"),
  text("object_prefix"),
  text("access_key_id"),
  text("access_key_secret"),
];

/** The keys of each backend, relative to its section. */
export const BACKEND_KEYS: Readonly<Record<BackendType, readonly KeyCase[]>> = {
  localfs: [
    text("blob_file"),
    text("dir"),
    { key: "alt_dirs", fate: "honoured", value: ["/more"], wrong: "/more" },
  ],
  localdisk: [text("device_path", "needed"), flag("disable_gpt", "refused")],
  oss: [...BUCKET, text("endpoint", "needed")],
  s3: [...BUCKET, text("endpoint", "needed"), text("region", "needed")],
  registry: [
    ...HTTP,
    scheme,
    text("host", "needed"),
    text("repo", "needed"),
    text("auth", "honoured", "dTpw"),
    text("registry_token"),
    { key: "blob_url_scheme", fate: "honoured", value: "http", wrong: "ftp" },
    text("blob_redirected_host"),
  ],
  "http-proxy": [...HTTP, text("addr", "needed"), text("path")],
};

/** The smallest section of each backend. */
export const BACKEND_SECTIONS: Readonly<Record<BackendType, Readonly<Record<string, unknown>>>> = {
  localfs: { dir: "/blobs" },
  localdisk: { device_path: "/dev/x" },
  oss: { endpoint: "e", bucket_name: "b" },
  s3: { endpoint: "e", region: "r", bucket_name: "b" },
  registry: { host: "h", repo: "r" },
  "http-proxy": { addr: "http://h" },
};

const cache = (base: string, files: string) => [
  { key: `${base}.type`, fate: "honoured", value: "fscache", wrong: "ramdisk" } as const,
  flag(`${base}.compressed`, "refused"),
  flag(`${base}.validate`),
  text(`${base}.${files}.work_dir`),
  flag(`${base}.${files}.disable_indexed_map`, "warned"),
  flag(`${base}.${files}.enable_encryption`, "refused"),
  flag(`${base}.${files}.enable_convergent_encryption`, "refused"),
  text(`${base}.${files}.encryption_key`),
];
const rafs = (base: string) => [
  flag(`${base}iostats_files`, "warned"),
  flag(`${base}enable_xattr`),
  flag(`${base}access_pattern`, "warned"),
  flag(`${base}latest_read_files`, "warned"),
];
const prefetch = (base: string) => [
  flag(`${base}.enable`),
  count(`${base}.threads`),
  count(`${base}.batch_size`),
  count(`${base}.bandwidth_limit`),
  flag(`${base}.prefetch_all`),
  flag(`${base}.stream_prefetch`, "warned"),
];

/** All other keys of each form. */
export const FILE_KEYS: Readonly<Record<1 | 2, readonly KeyCase[]>> = {
  1: [
    text("device.id"),
    { key: "device.backend.type", fate: "needed", value: undefined, wrong: "ftp" },
    { key: "device.external_backends", fate: "warned", value: [{}], wrong: 7 },
    ...cache("device.cache", "config"),
    { key: "mode", fate: "needed", value: "cached", wrong: "indirect" },
    flag("digest_validate"),
    ...rafs(""),
    count("amplify_io"),
    flag("fs_prefetch.enable"),
    count("fs_prefetch.threads_count"),
    count("fs_prefetch.merging_size"),
    count("fs_prefetch.bandwidth_rate"),
    flag("fs_prefetch.prefetch_all", "honoured", false),
    flag("fs_prefetch.stream_prefetch", "warned"),
  ],
  2: [
    { key: "version", fate: "needed", value: 2, wrong: 3 },
    text("id"),
    { key: "backend.type", fate: "needed", value: undefined, wrong: "ftp" },
    { key: "external_backends", fate: "warned", value: [{}], wrong: 7 },
    ...cache("cache", "filecache"),
    text("cache.fscache.work_dir"),
    ...prefetch("cache.prefetch"),
    { key: "rafs.mode", fate: "honoured", value: "cached", wrong: "indirect" },
    count("rafs.batch_size"),
    flag("rafs.validate"),
    ...rafs("rafs."),
    ...prefetch("rafs.prefetch"),
    { key: "overlay", fate: "warned", value: {}, wrong: undefined },
  ],
};

/** The keys that the program's schemas know, except sections of backends. */
export function keysOfFile(version: 1 | 2): string[] {
  const isSection = (key: string) => /^(device\.backend\.config|backend\.(?!type$).*)$/.test(key);
  return leaves(version === 1 ? V1 : V2, "").filter((key) => !isSection(key));
}

/** The keys that the schema of a backend knows. */
export function keysOfBackend(type: BackendType): string[] {
  return leaves(BACKEND_SCHEMAS[type], "");
}

function leaves(schema: v.GenericSchema, base: string): string[] {
  if ("wrapped" in schema) return leaves(schema.wrapped as v.GenericSchema, base);
  if (!("entries" in schema) || schema.type !== "object") return [base];
  const entries = Object.entries(schema.entries as Record<string, v.GenericSchema>);
  return entries.flatMap(([key, entry]) => leaves(entry, base === "" ? key : `${base}.${key}`));
}

/** A copy of `document` with `value` at a key; undefined removes the key. */
export function withKey(document: object, key: string, value: unknown): object {
  const copy = structuredClone(document) as Record<string, unknown>;
  const names = key.split(".");
  const last = names.pop() ?? "";
  let holder = copy;
  for (const name of names) {
    if (holder[name] === undefined && value === undefined) return copy;
    holder = (holder[name] ??= {}) as Record<string, unknown>;
  }
  if (value === undefined) delete holder[last];
  else holder[last] = value;
  return copy;
}

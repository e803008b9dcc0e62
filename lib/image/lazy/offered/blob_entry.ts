/**
 * Parser of the body of nydusd's `PUT /api/v2/blobs`: an image to mount by `mount -t erofs -o domain_id=…,fsid=…`.
 *
 * ```json
 * { "type": "bootstrap", "id": "FSID", "domain_id": "D", "config": {
 *     "id": "D", "backend_type": "localfs", "backend_config": { "dir": "/blobs" },
 *     "cache_type": "fscache", "cache_config": { "work_dir": "/cache" }, "metadata_path": "/image.boot" } }
 * ```
 * `config_v2` is the alternative in the form of configuration files, version 2. Source: api/src/config.rs and
 * http_endpoint_v2.rs of nydusd 2.3.
 *
 * @module
 */
import * as v from "valibot";
import { type NydusdConfig, parseNydusdConfig } from "../../../backend/nydusd_config.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { formatPath, parseWith } from "../../../base/schema.ts";
import type { OfferName } from "../../../mount/fscache/offers.ts";

/** An image to offer. */
export interface BlobCacheEntry extends OfferName {
  /** Path of the bootstrap. */
  readonly bootstrapPath: string;
  readonly config: NydusdConfig;
}

const text = v.optional(v.string(), "");
/** Restricted to the characters of a tag, since it also becomes a name in the kernel's cache. */
const name = v.pipe(v.string(), v.regex(/^[\w.:-]{1,255}$/, "must be letters, digits, '.', ':', '_' and '-'"));
const section = v.optional(v.record(v.string(), v.unknown()));

const Entry = v.object({
  type: v.string(),
  id: name,
  domain_id: v.optional(v.union([v.literal(""), name]), ""),
  config: v.nullish(v.looseObject({
    id: text,
    backend_type: v.string(),
    backend_config: section,
    cache_type: text,
    cache_config: section,
    metadata_path: v.nullish(v.string()),
  })),
  config_v2: v.nullish(v.looseObject({ metadata_path: v.nullish(v.string()) })),
  fs_prefetch: section,
});

/**
 * Parses an entry.
 *
 * @throws {NydusGdError} "usage" for an invalid entry, "unsupported" for another type, "config" for an invalid
 * configuration
 */
export function readBlobEntry(document: unknown): BlobCacheEntry {
  const result = parseWith(Entry, document, []);
  if (!result.ok) throw new NydusGdError("usage", `Cannot read blob entry: ${formatPath(result.path)} ${result.state}`);
  const { type, id, domain_id, config, config_v2, fs_prefetch } = result.value;
  if (type !== "bootstrap") {
    const state = "blobs are offered with the bootstrap that names them";
    throw new NydusGdError("unsupported", `Cannot offer ${JSON.stringify(type.slice(0, 40))}: ${state}`);
  }
  const bootstrapPath = (config_v2 ?? config)?.metadata_path;
  if (!bootstrapPath) throw new NydusGdError("usage", "Cannot read blob entry: metadata_path is missing");
  const nydusd = config_v2 === undefined || config_v2 === null ? v1Of(config, fs_prefetch) : v2Of(config_v2);
  return { domain: domain_id, fsid: id, bootstrapPath, config: parseNydusdConfig(JSON.stringify(nydusd)) };
}

type Legacy = v.InferOutput<typeof Entry>["config"];

/** Returns the equivalent configuration file, version 1. */
function v1Of(config: Legacy, prefetch: Record<string, unknown> | undefined): unknown {
  const { id = "", backend_type, backend_config = {}, cache_type = "", cache_config } = config ?? {};
  return {
    device: {
      id,
      backend: { type: backend_type, config: backend_config },
      cache: { type: cache_type, ...(cache_config === undefined ? {} : { config: cache_config }) },
    },
    mode: "direct",
    ...(prefetch === undefined ? {} : { fs_prefetch: prefetch }),
  };
}

function v2Of({ metadata_path: _, ...config }: Record<string, unknown>): unknown {
  return { rafs: { mode: "direct" }, ...config };
}

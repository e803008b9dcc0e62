/**
 * Checks nydusd's configuration for keys that are not supported: those that promise a property are refused, those
 * without visible effect cause a warning.
 *
 * @module
 */
import type { NydusdConfig } from "./nydusd_config.ts";
import { NydusGdError } from "../base/errors.ts";

/** The name of a key in each version of the file. */
interface Key {
  readonly v1: string;
  readonly v2: string;
}

const KEY = {
  externalBackends: { v1: "device.external_backends", v2: "external_backends" },
  overlay: { v1: "overlay", v2: "overlay" },
  compressed: { v1: "device.cache.compressed", v2: "cache.compressed" },
  encryption: { v1: "device.cache.config.enable_encryption", v2: "cache.filecache.enable_encryption" },
  convergent: {
    v1: "device.cache.config.enable_convergent_encryption",
    v2: "cache.filecache.enable_convergent_encryption",
  },
  indexedMap: { v1: "device.cache.config.disable_indexed_map", v2: "cache.filecache.disable_indexed_map" },
  iostatsFiles: { v1: "iostats_files", v2: "rafs.iostats_files" },
  accessPattern: { v1: "access_pattern", v2: "rafs.access_pattern" },
  latestReadFiles: { v1: "latest_read_files", v2: "rafs.latest_read_files" },
} as const satisfies Record<string, Key>;

/**
 * Checks a parsed configuration.
 *
 * @returns complete sentences about keys that have no effect
 * @throws {NydusGdError} "unsupported" for a key that promises an unsupported property
 */
export function checkNydusdKeys(config: NydusdConfig): string[] {
  const { version, backend, cache, prefetch, rafs } = config;
  const name = (key: Key) => version === 1 ? key.v1 : key.v2;
  const ofBackend = (key: string): Key => ({
    v1: `device.backend.config.${key}`,
    v2: `backend.${backend.type}.${key}`,
  });
  const streamPrefetch = `${prefetch.section}.stream_prefetch`;
  const refuse = (key: Key, state: string, hint: string): never => {
    throw new NydusGdError("unsupported", `Cannot read configuration: ${name(key)} is not supported, ${state}`, {
      hint: `remove the key${hint}`,
    });
  };
  const cipherHint = ", and put the cache (work_dir) on an encrypted file system";
  if (cache.encrypted) refuse(KEY.encryption, "the cache would hold plain data", cipherHint);
  if (cache.convergentEncryption) refuse(KEY.convergent, "the cache would hold plain data", cipherHint);
  if (cache.compressed) {
    refuse(KEY.compressed, "chunks are kept as plain data", ", and leave the cache room for plain data");
  }
  if (backend.type === "localdisk" && backend.disableGpt) {
    refuse(ofBackend("disable_gpt"), "without partitions nothing tells where a blob is", "");
  }
  const http = "proxy" in backend ? backend : undefined;
  if (http?.proxy.dragonflySchedulerEndpoint) {
    refuse(
      ofBackend("proxy.dragonfly_scheduler_endpoint"),
      "its proxy can be asked",
      ", and name Dragonfly in proxy.url",
    );
  }
  const idle: readonly (readonly [boolean, Key, string])[] = [
    [http?.retryLimit !== undefined, ofBackend("retry_limit"), "fetch.retries of the settings counts"],
    [config.hasExternalBackends, KEY.externalBackends, "blobs are looked for in the backend alone"],
    [config.hasOverlay, KEY.overlay, "images are read-only, what writes is above them"],
    [cache.disableIndexedMap, KEY.indexedMap, "chunks are recorded, and believed only with their verified digests"],
    [prefetch.streamPrefetch, { v1: streamPrefetch, v2: streamPrefetch }, "prefetch reads ranges"],
    [rafs.iostatsFiles, KEY.iostatsFiles, "files are not counted one by one"],
    [rafs.accessPattern, KEY.accessPattern, "first accesses are not recorded"],
    [rafs.latestReadFiles, KEY.latestReadFiles, "reads are not recorded"],
  ];
  return idle.filter(([isSet]) => isSet).map(([, key, why]) =>
    `Configuration key ${name(key)} has no effect here: ${why}`
  );
}

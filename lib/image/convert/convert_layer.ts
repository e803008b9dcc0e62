/**
 * One layer's blob at the target: found there, or made and put there.
 *
 * @module
 */
import { hasCode, ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { type Digest, sha256Digest } from "../../oci/digest.ts";
import { extractBootstrap } from "../../rafs/toc.ts";
import { BOOTSTRAP_CODECS } from "../find_bootstrap.ts";
import { SpoolFile } from "../spool_file.ts";
import type { ChunkDictionary } from "./chunk_dictionary.ts";
import type { CompressPool } from "./compress_pool.ts";
import { buildLayer } from "./convert_tree.ts";
import type { ImageTarget } from "./image_target.ts";
import type { KnownLayer, LayerCache } from "./layer_cache.ts";
import { fingerprint, type RafsOptions } from "./rafs_options.ts";
import type { OnBytes, SourceLayer } from "./source_image.ts";

const log = logger("image");

/** What converting layers needs. */
export interface LayerConversion {
  readonly rafs: RafsOptions;
  readonly pool: CompressPool;
  readonly dictionary: ChunkDictionary | undefined;
  readonly target: ImageTarget;
  readonly cache: LayerCache;
  /** What earlier images at the target say of their layers, by {@link layerKey}. */
  readonly known: ReadonlyMap<string, KnownLayer>;
}

/** A layer that is at the target. */
export interface ConvertedLayer {
  readonly digest: Digest;
  readonly blobId: string;
  readonly blobBytes: number;
  /** Its own. */
  readonly bootstrap: Uint8Array;
  /** What names source and options; undefined for a source that has no name. */
  readonly key: string | undefined;
  /** It was there already. */
  readonly reused: boolean;
}

/** Told how far a layer is, in bytes read and bytes put. */
export interface LayerProgress {
  readonly onRead: OnBytes;
  readonly onPut: OnBytes;
}

/** Names what becomes of a layer; undefined where that depends on more than layer and options. */
export function layerKey({ diffId }: SourceLayer, { rafs, dictionary }: LayerConversion): string | undefined {
  return diffId === undefined || dictionary !== undefined ? undefined : `${fingerprint(rafs)} ${diffId}`;
}

/**
 * Converts a layer, unless it is there.
 *
 * @throws {NydusGdError} what the source or the target is wrong with
 */
export async function convertLayer(
  layer: SourceLayer,
  conversion: LayerConversion,
  progress: LayerProgress,
  signal: AbortSignal,
): Promise<ConvertedLayer> {
  const key = layerKey(layer, conversion);
  const found = key === undefined ? undefined : await findLayer(key, conversion, signal);
  if (found !== undefined) return found;
  const { target, cache } = conversion;
  const path = await target.spoolPath();
  try {
    const { blobId, blobBytes, bootstrap } = await makeBlob(layer, path, conversion, progress.onRead, signal);
    const digest = sha256Digest(blobId);
    const blob = { digest, size: blobBytes };
    if (!await target.has(blob, signal)) await target.putFile(blob, path, progress.onPut, signal);
    const { place } = target;
    if (key !== undefined) await cache.record(key, { blobId, blobBytes, ...(place === undefined ? {} : { place }) });
    return { digest, blobId, blobBytes, bootstrap, key, reused: false };
  } finally {
    await ignore(Deno.errors.NotFound, Deno.remove(path));
  }
}

async function makeBlob(
  layer: SourceLayer,
  path: string,
  { rafs, pool, dictionary }: LayerConversion,
  onRead: OnBytes,
  signal: AbortSignal,
) {
  using file = SpoolFile.create(path, `convert ${layer.what}`);
  const write = (bytes: Uint8Array<ArrayBuffer>) => file.append(bytes);
  try {
    return await buildLayer(layer.entries(onRead, signal), { rafs, compressor: pool, dictionary, write });
  } catch (error) {
    throw ofLayer(error, layer.what);
  }
}

/** What is wrong with an entry says which, not in which layer. */
function ofLayer(error: unknown, what: string): unknown {
  if (!hasCode(error, "invalid-image", "unsupported") || error.message.includes(what)) return error;
  const state = error.message.replace(/^C/, "c");
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new NydusGdError(error.code, `Cannot convert ${what}: ${state}`, { cause: error, ...hint });
}

/** What was converted before, if its blob can still be had at the target. */
async function findLayer(
  key: string,
  { target, cache, known }: LayerConversion,
  signal: AbortSignal,
): Promise<ConvertedLayer | undefined> {
  for (const layer of [await cache.find(key), known.get(key)]) {
    if (layer === undefined) continue;
    const { blobId, blobBytes, place } = layer;
    const digest = sha256Digest(blobId);
    const blob = { digest, size: blobBytes };
    try {
      const isThere = await target.has(blob, signal) || place !== undefined && await target.mount(blob, place, signal);
      if (!isThere) continue;
      const source = target.blobs.blob(blobId);
      const read = (offset: number, length: number) => source.read(offset, length, { priority: "on-demand", signal });
      const bootstrap = await extractBootstrap(read, blobBytes, BOOTSTRAP_CODECS);
      if (bootstrap !== undefined) return { digest, blobId, blobBytes, bootstrap, key, reused: true };
    } catch (error) {
      if (!hasCode(error, "not-found", "invalid-image", "unsupported", "unavailable")) throw error;
      log.warn("converted layer not used again", { blob: blobId, reason: messageOf(error) });
    }
  }
  return undefined;
}

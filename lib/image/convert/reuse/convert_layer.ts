/**
 * Provides one layer's blob at the target: finds it there, or makes it and has it stored.
 *
 * @module
 */
import { hasCode, ignore, NydusGdError } from "../../../base/errors.ts";
import { sha256Digest } from "../../../oci/digest.ts";
import type { ImageMemory } from "../../../rafs/image_memory.ts";
import type { OnBytes } from "../../source/counted.ts";
import { SpoolFile } from "../../source/spool_file.ts";
import type { BlobUploads } from "../target/blob_uploads.ts";
import type { ChunkDictionary } from "../chunks/chunk_dictionary.ts";
import type { CompressPool } from "../chunks/compress_pool.ts";
import { buildLayer } from "../layer/build_layer.ts";
import type { ConvertedLayer } from "./converted_layer.ts";
import type { EarlierLayers } from "./earlier_layers.ts";
import type { ImageTarget } from "../target/image_target.ts";
import type { LayerCache } from "./layer_cache.ts";
import { fingerprint, type RafsOptions } from "../format/rafs_options.ts";
import type { SourceLayer } from "../source/source_image.ts";
import { refuseBootstrap } from "./refuse_bootstrap.ts";

/** Inputs common to the conversion of all layers. */
export interface LayerConversion {
  readonly rafs: RafsOptions;
  readonly pool: CompressPool;
  readonly dictionary: ChunkDictionary | undefined;
  readonly target: ImageTarget;
  readonly uploads: BlobUploads;
  /** Memory for bootstraps. */
  readonly memory: ImageMemory;
  readonly cache: LayerCache;
  /** Layers converted before, by {@link layerKey}. */
  readonly earlier: EarlierLayers;
  readonly signal: AbortSignal;
}

/** Receives a layer's progress, in bytes read and bytes uploaded. */
export interface LayerProgress {
  readonly onRead: OnBytes;
  readonly onPut: OnBytes;
}

/** Identifies the result of converting a layer; undefined if it depends on more than layer and options. */
export function layerKey({ diffId }: SourceLayer, { rafs, dictionary }: LayerConversion): string | undefined {
  return diffId === undefined || dictionary !== undefined ? undefined : `${fingerprint(rafs)} ${diffId}`;
}

/**
 * Converts a layer unless it is at the target already. A new one is there after {@link BlobUploads.done}.
 *
 * @throws {NydusGdError} errors of the source or the target
 */
export async function convertLayer(
  layer: SourceLayer,
  conversion: LayerConversion,
  progress: LayerProgress,
): Promise<ConvertedLayer> {
  const key = layerKey(layer, conversion);
  const { target, earlier, uploads } = conversion;
  const found = key === undefined ? undefined : await earlier.find(key);
  if (found !== undefined) {
    refuseBootstrap(layer, found.bootstrap);
    return found;
  }
  const path = await target.spoolPath();
  try {
    const { blobId, blobBytes, bootstrap } = await makeBlob(layer, path, conversion, progress.onRead);
    const made = { digest: sha256Digest(blobId), blobId, blobBytes, bootstrap, key, reused: false };
    await uploads.add(() => storeBlob(made, path, conversion, progress.onPut));
    if (key !== undefined) earlier.add(key, made);
    return made;
  } catch (error) {
    await removeIfThere(path);
    throw error;
  }
}

/** Stores the layer's blob and records it. Removes the file. */
async function storeBlob(
  { digest, blobId, blobBytes, key }: ConvertedLayer,
  path: string,
  { target, cache, signal }: LayerConversion,
  onPut: OnBytes,
): Promise<void> {
  try {
    const blob = { digest, size: blobBytes };
    if (!await target.has(blob, signal)) await target.putFile(blob, path, onPut, signal);
    const { place } = target;
    if (key !== undefined) await cache.record(key, { blobId, blobBytes, ...(place === undefined ? {} : { place }) });
  } finally {
    await removeIfThere(path);
  }
}

async function removeIfThere(path: string): Promise<void> {
  await ignore(Deno.errors.NotFound, Deno.remove(path));
}

async function makeBlob(
  layer: SourceLayer,
  path: string,
  { rafs, pool, dictionary, memory, signal }: LayerConversion,
  onRead: OnBytes,
) {
  using file = SpoolFile.create(path, `convert ${layer.what}`);
  const write = (bytes: Uint8Array<ArrayBuffer>) => file.append(bytes);
  try {
    const options = { rafs, compressor: pool, dictionary, memory, write };
    const built = await buildLayer(layer.entries(onRead, signal), options);
    refuseBootstrap(layer, built.bootstrap);
    return built;
  } catch (error) {
    throw ofLayer(error, layer.what);
  }
}

/** Adds the layer to an error that only names the entry. */
function ofLayer(error: unknown, what: string): unknown {
  if (!hasCode(error, "invalid-image", "unsupported") || error.message.includes(what)) return error;
  const state = error.message.replace(/^C/, "c");
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new NydusGdError(error.code, `Cannot convert ${what}: ${state}`, { cause: error, ...hint });
}

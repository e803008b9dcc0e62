/**
 * Provides one layer's blob at the target: finds it there, or makes it and has it stored.
 *
 * @module
 */
import { hasCode, ignore, NydusGdError } from "../../../base/errors.ts";
import { digestAlgorithm, digestHex, sha256Digest } from "../../../oci/digest.ts";
import type { ImageMemory } from "../../../rafs/memory/image_memory.ts";
import { openBootstrap } from "../../../rafs/open.ts";
import type { OnBytes } from "../../source/counted.ts";
import { SpoolFile } from "../../source/spool_file.ts";
import type { BlobUploads } from "../target/blob_uploads.ts";
import type { ChunkDictionary } from "../chunks/chunk_dictionary.ts";
import type { CompressPool } from "../chunks/compress_pool.ts";
import { buildLayer } from "../layer/build_layer.ts";
import { GzipWalk } from "../chunks/gzip_walk.ts";
import { UnreferableError } from "../chunks/unreferable.ts";
import type { ConvertedLayer } from "./converted_layer.ts";
import type { EarlierLayers } from "./earlier_layers.ts";
import type { ImageTarget } from "../target/image_target.ts";
import type { LayerCache } from "./layer_cache.ts";
import { fingerprint, type RafsOptions } from "../format/rafs_options.ts";
import type { OriginalLayer, SourceLayer } from "../source/source_image.ts";
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
  /** Whether the image is to refer to the original layers as they are, where it can. */
  readonly ociRef: boolean;
  /** Layers converted before, by {@link layerKey}. */
  readonly earlier: EarlierLayers;
  readonly signal: AbortSignal;
}

/** Receives a layer's progress, in bytes read and bytes uploaded. */
export interface LayerProgress {
  readonly onRead: OnBytes;
  readonly onPut: OnBytes;
}

/** Incremented whenever the description of the same gzip layer differs from that of earlier versions of this program. */
const REFERENCE_VERSION = 1;

/** The blob that an image is to refer to; undefined if its layers are stored again. */
function referredBlob(layer: SourceLayer, { ociRef }: LayerConversion): OriginalLayer["blob"] | undefined {
  const blob = ociRef ? layer.stored?.blob : undefined;
  return blob !== undefined && digestAlgorithm(blob.digest) === "sha256" ? blob : undefined;
}

/** Identifies the result of converting a layer; undefined if it depends on more than layer and options. */
export function layerKey(layer: SourceLayer, conversion: LayerConversion): string | undefined {
  const { rafs, dictionary } = conversion;
  const referred = referredBlob(layer, conversion);
  if (referred !== undefined) return `ref${REFERENCE_VERSION}-${fingerprint(rafs)} ${referred.digest}`;
  const { diffId } = layer;
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
  try {
    return await provide(layer, conversion, progress);
  } catch (error) {
    if (!(error instanceof UnreferableError)) throw error;
    return { ...await provide(layer, { ...conversion, ociRef: false }, progress), unreferable: error.message };
  }
}

/** @throws {UnreferableError} for a layer that an image cannot refer to */
async function provide(
  layer: SourceLayer,
  conversion: LayerConversion,
  progress: LayerProgress,
): Promise<ConvertedLayer> {
  const key = layerKey(layer, conversion);
  const refersTo = referredBlob(layer, conversion);
  const { target, earlier, uploads } = conversion;
  const found = key === undefined ? undefined : await earlier.find(key);
  if (found !== undefined) {
    refuseBootstrap(layer, found.bootstrap);
    return { ...found, refersTo };
  }
  const paths = { blob: await target.spoolPath(), original: await originalPath(layer, conversion) };
  try {
    const { blobId, blobBytes, bootstrap } = await makeBlob(layer, paths, conversion, progress.onRead);
    const made = { digest: sha256Digest(blobId), blobId, blobBytes, bootstrap, key, reused: false, refersTo };
    await uploads.add(() => storeBlobs(made, paths, conversion, progress.onPut));
    if (key !== undefined) earlier.add(key, made);
    return made;
  } catch (error) {
    await removeAll(paths);
    throw error;
  }
}

/** Temporary files of a layer: its new blob, and the layer as it is, if the target is to get it, too. */
interface LayerPaths {
  readonly blob: string;
  readonly original: string | undefined;
}

/** Where to keep the layer while it is read, so that it is not read again to be copied; undefined if the target has it. */
async function originalPath(layer: SourceLayer, conversion: LayerConversion): Promise<string | undefined> {
  const { target, signal } = conversion;
  const blob = referredBlob(layer, conversion);
  const place = layer.stored?.home.place;
  if (blob === undefined || await target.has(blob, signal)) return undefined;
  if (place !== undefined && await target.mount(blob, place, signal)) return undefined;
  return await target.spoolPath();
}

/** Stores the layer's blob and records it; before that the layer itself, if the blob describes any data of it. */
async function storeBlobs(
  { digest, blobId, blobBytes, bootstrap, key, refersTo }: ConvertedLayer,
  paths: LayerPaths,
  { target, cache, signal }: LayerConversion,
  onPut: OnBytes,
): Promise<void> {
  try {
    if (paths.original !== undefined && refersTo !== undefined && openBootstrap(bootstrap).blobs.length > 0) {
      await target.putFile(refersTo, paths.original, () => {}, signal);
    }
    const blob = { digest, size: blobBytes };
    if (!await target.has(blob, signal)) await target.putFile(blob, paths.blob, onPut, signal);
    if (key !== undefined) await cache.record(key, { blobId, blobBytes }, target.place);
  } finally {
    await removeAll(paths);
  }
}

async function removeAll({ blob, original }: LayerPaths): Promise<void> {
  for (const path of [blob, original]) if (path !== undefined) await ignore(Deno.errors.NotFound, Deno.remove(path));
}

async function makeBlob(layer: SourceLayer, paths: LayerPaths, conversion: LayerConversion, onRead: OnBytes) {
  const { rafs, pool, dictionary, memory, signal } = conversion;
  const blob = referredBlob(layer, conversion);
  using original = paths.original === undefined ? undefined : SpoolFile.create(paths.original, `copy ${layer.what}`);
  const walk = blob && new GzipWalk(original && ((stored) => original.append(stored)));
  const referred = blob && walk && { id: digestHex(blob.digest), sizeBytes: blob.size, walk };
  using file = SpoolFile.create(paths.blob, `convert ${layer.what}`);
  const write = (bytes: Uint8Array<ArrayBuffer>) => file.append(bytes);
  try {
    const options = { rafs, compressor: pool, dictionary, memory, referred, write };
    const built = await buildLayer(layer.entries(onRead, signal, walk), options);
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

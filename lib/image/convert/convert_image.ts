/**
 * Converts an ordinary image to a lazy one, from any source to any target.
 *
 * ```
 * source ─► layers ─► entries ─► chunks ─► dedup ─► compress (Workers) ─► blob ─┐
 *                                                     merge ◄── bootstraps ◄─────┘
 *                                                       └─► bootstrap layer ─► manifests ─► index ─► target's name
 * ```
 * Each step has a folder: `source` yields layers and their entries, `layer` makes a blob of them whose data is in
 * `chunks`, `merge` makes one tree of all layers, and `target` stores what is made. In between, `reuse` looks for layers
 * that are there already, `copy` takes over what stays as it is, and `run` adds what a start of the image reads.
 *
 * Layers are converted one after the other, so that memory does not grow with the image; within a layer, compression
 * uses all cores. Meanwhile the blob of the layer before is stored at the target, and layers that were converted before
 * are looked up there, and not read. A failure before the last step leaves only unreferenced blobs at the target.
 *
 * @module
 */
import { dirname } from "node:path";
import { mapLargePieces } from "../../../ffi/malloc.ts";
import { NydusGdError } from "../../base/errors.ts";
import { freeMemory } from "../../base/free_memory.ts";
import { PagedMemory } from "../../base/paged_memory.ts";
import { prepareDigests } from "../../blob/codec/codec.ts";
import { type Digest, digestHex, sha256Digest } from "../../oci/digest.ts";
import { formatPlatform } from "../../oci/platform.ts";
import { requiredBlobIds } from "../../rafs/format/flags.ts";
import { openBootstrap } from "../../rafs/open.ts";
import type { BlobEntry } from "../../rafs/v6/writer.ts";
import { bootstrapLayerPieces, type ImageBlob } from "../build/image_builder.ts";
import { BlobUploads } from "./target/blob_uploads.ts";
import { CompressPool } from "./chunks/compress_pool.ts";
import { convertLayer, type LayerConversion, layerKey } from "./reuse/convert_layer.ts";
import type { ConvertedLayer } from "./reuse/converted_layer.ts";
import { copyBlob } from "./copy/copy_blob.ts";
import { copyOriginal } from "./copy/copy_original.ts";
import { EarlierLayers } from "./reuse/earlier_layers.ts";
import type { ImageTarget } from "./target/image_target.ts";
import { knownLayers } from "./reuse/known_layers.ts";
import type { LayerCache } from "./reuse/layer_cache.ts";
import { mergeLayers } from "./merge/merge_layers.ts";
import { type NydusImage, nydusImage, nydusIndex } from "./nydus_manifests.ts";
import type { OpenDictionary } from "./source/open_dictionary.ts";
import type { PrefetchPatterns } from "./merge/prefetch_patterns.ts";
import type { RafsOptions } from "./format/rafs_options.ts";
import type { OriginalLayer, SourceImage, SourceLayer } from "./source/source_image.ts";
import { convertStart, requireRunning, type StartRun } from "./run/start_layer.ts";

/** Threshold in bytes: parcels and buffers are larger, frequent allocations of the runtime are smaller. */
const LARGE_PIECE = 128 << 10;

/** Progress events, for display. Sizes in bytes. */
export type ConvertEvent =
  | { readonly event: "layer"; readonly layer: string; readonly platform: string; readonly size: number | undefined }
  | { readonly event: "read"; readonly layer: string; readonly bytes: number }
  | { readonly event: "put"; readonly layer: string; readonly bytes: number }
  | {
    readonly event: "converted";
    readonly layer: string;
    readonly blob: string;
    readonly blobBytes: number;
    readonly reused: boolean;
    /** Whether the blob only describes the original layer. */
    readonly refers: boolean;
    /** As in {@link ConvertedLayer}. */
    readonly unreferable: string | undefined;
  }
  | { readonly event: "merged"; readonly platform: string; readonly bootstrapBytes: number };

/** Inputs and options of {@link convertImage}. */
export interface ConvertOptions {
  readonly rafs: RafsOptions;
  readonly target: ImageTarget;
  readonly cache: LayerCache;
  readonly dictionary?: OpenDictionary | undefined;
  readonly prefetch?: PrefetchPatterns | undefined;
  /** If set, the image is run once; what it reads is stored again, in order of reading, and fetched first. */
  readonly start?: StartRun | undefined;
  /** Keep the original image and its referrers in the index, before the converted one: plain clients use it. */
  readonly withOci: boolean;
  /** Refer to the gzip layers of the original image instead of storing their data again. */
  readonly ociRef?: boolean | undefined;
  onEvent(event: ConvertEvent): void;
}

/** Result of a conversion. */
export interface ConvertedImage {
  readonly target: string;
  /** Digest of the index. */
  readonly digest: Digest;
  readonly platforms: readonly ConvertedPlatform[];
}

/** Result for one platform. */
export interface ConvertedPlatform {
  readonly platform: string;
  readonly layers: readonly MadeBlob[];
  /** The blob with a second copy of what the image reads at start-up. */
  readonly start: MadeBlob | undefined;
  readonly bootstrapBytes: number;
}

/** A data blob of the image. */
export type MadeBlob = Omit<ConvertedLayer, "bootstrap">;

/**
 * Converts the images, one per platform, under one name.
 *
 * @throws {NydusGdError} with the layer and the cause; "interrupted"
 */
export async function convertImage(
  images: readonly SourceImage[],
  options: ConvertOptions,
  signal: AbortSignal,
): Promise<ConvertedImage> {
  const { rafs, target, cache, dictionary } = options;
  if (options.withOci) requireOriginals(images);
  if (options.start !== undefined) requireRunning();
  mapLargePieces(LARGE_PIECE);
  const folder = dirname(await target.spoolPath());
  using memory = new PagedMemory(folder);
  using pool = new CompressPool();
  await using uploads = new BlobUploads(signal);
  const known = await knownLayers(target, signal);
  await using earlier = new EarlierLayers({ target, cache, memory, folder, known, signal });
  const chunks = dictionary?.chunks;
  const { ociRef = false } = options;
  const shared = { rafs, pool, dictionary: chunks, target, uploads, memory, cache, earlier, ociRef };
  const conversion: LayerConversion = { ...shared, signal: uploads.signal };
  const entries: object[] = [];
  const manifests: ImageBlob[] = [];
  const platforms: ConvertedPlatform[] = [];
  for (const image of images.map(withLayers)) {
    const layers = await uploads.during(convertLayers(image, conversion, options));
    const { made, start, bootstrapBytes } = await uploads.during(assemble(image, layers, conversion, options));
    await uploads.done();
    await putAll(made.blobs, target, signal);
    if (options.withOci && image.manifest !== undefined) {
      entries.push(...await copyOriginal(image.manifest, image.platform, target, signal));
    }
    entries.push(...made.entries);
    manifests.push(...made.manifests);
    const platform = formatPlatform(image.platform);
    platforms.push({ platform, bootstrapBytes, start, layers: layers.map(madeBlob) });
    options.onEvent({ event: "merged", platform, bootstrapBytes });
  }
  const index = nydusIndex(entries, Object.assign({}, ...images.map(({ manifest }) => manifest?.indexAnnotations)));
  await target.publish(manifests, index, signal);
  return { target: target.description, digest: index.digest as Digest, platforms };
}

function requireOriginals(images: readonly SourceImage[]): void {
  if (images.every(({ manifest }) => manifest !== undefined)) return;
  const state = "the source has no manifest that an index could list";
  throw new NydusGdError("usage", `Cannot keep the ordinary image beside the lazy one: ${state}`, {
    hint: "push it and convert from there, or leave out --with-oci",
  });
}

/** Layer of an image that has none, as `FROM scratch` without files: its tree is a root. */
const NO_FILES: SourceLayer = {
  what: "without files",
  diffId: undefined,
  size: 0,
  hasWhiteouts: true,
  entries: () => () => Promise.resolve(),
};

function withLayers(image: SourceImage): SourceImage {
  return image.layers.length > 0 ? image : { ...image, layers: [NO_FILES] };
}

async function convertLayers(
  { platform, layers }: SourceImage,
  conversion: LayerConversion,
  { onEvent }: ConvertOptions,
): Promise<ConvertedLayer[]> {
  const converted: ConvertedLayer[] = [];
  for (const [k, source] of await newOnesFirst(layers, conversion)) {
    const layer = `${k + 1}/${layers.length}, ${source.what.replace(/^layer /, "")}`;
    onEvent({ event: "layer", layer, platform: formatPlatform(platform), size: source.size });
    const progress = {
      onRead: (bytes: number) => onEvent({ event: "read", layer, bytes }),
      onPut: (bytes: number) => onEvent({ event: "put", layer, bytes }),
    };
    const made = await convertLayer(source, conversion, progress);
    conversion.memory.dropPages();
    if (!made.reused) await freeMemory();
    const { digest: blob, blobBytes, reused, refersTo, unreferable } = made;
    onEvent({ event: "converted", layer, blob, blobBytes, reused, refers: refersTo !== undefined, unreferable });
    converted[k] = made;
  }
  return converted;
}

/**
 * Starts looking up all layers, and starts the Workers if one is new, so that both are ready when needed.
 *
 * @returns the layers with their positions: new ones, which are converted while the others are looked up, then others
 */
async function newOnesFirst(
  layers: readonly SourceLayer[],
  conversion: LayerConversion,
): Promise<(readonly [number, SourceLayer])[]> {
  const { rafs, pool, earlier } = conversion;
  const lookUp = async (layer: SourceLayer): Promise<boolean> => {
    const key = layerKey(layer, conversion);
    const isNew = key === undefined || await earlier.isUnknown(key);
    if (isNew) pool.start(layer.size, rafs.level);
    else earlier.find(key).then((found) => found ?? pool.start(layer.size, rafs.level)).catch(() => {}); // reported when awaited
    return isNew;
  };
  const areNew = await Promise.all(layers.map(lookUp));
  const numbered = layers.map((layer, k) => [k, layer] as const);
  return [...numbered.filter(([k]) => areNew[k]), ...numbered.filter(([k]) => !areNew[k])];
}

/** Builds the bootstrap of the whole image and its documents. */
async function assemble(
  image: SourceImage,
  layers: readonly ConvertedLayer[],
  conversion: LayerConversion,
  { rafs, target, prefetch, dictionary, start: run }: ConvertOptions,
): Promise<{ made: NydusImage; start: MadeBlob | undefined; bootstrapBytes: number }> {
  const mergeable = layers.map(({ bootstrap, blobId, blobBytes }, k) => ({
    ...{ tree: openBootstrap(bootstrap), blobId, blobBytes },
    what: image.layers[k]?.what ?? `layer ${k}`,
    hasWhiteouts: image.layers[k]?.hasWhiteouts ?? true,
  }));
  const { memory, pool, signal } = conversion;
  const pack = pool.packer(layers.reduce((sum, { bootstrap }) => sum + bootstrap.length, 0));
  await prepareDigests(rafs.digester); // no layer has done so if all were there
  const merged = mergeLayers(mergeable, rafs, { prefetch, memory });
  const sizes = new Map(layers.map(({ blobId, blobBytes }) => [blobId, blobBytes]));
  const extra = await copyReferred(image.layers, layers, merged.blobs, target, signal);
  for (const { digest, size } of extra) sizes.set(digestHex(digest), size);
  for (const { id } of merged.blobs) {
    if (sizes.has(id) || dictionary === undefined) continue;
    const blob = { digest: sha256Digest(id), size: await dictionary.home.blobs.blob(id).size(signal) };
    await copyBlob(blob, dictionary.home, target, signal);
    extra.push(blob);
    sizes.set(id, blob.size);
  }
  if (run !== undefined) await conversion.uploads.done(); // it reads the blobs
  const start = run &&
    await convertStart({ ...image, bootstrap: merged.bootstrap.whole(), blobs: target.blobs }, run, conversion);
  if (start !== undefined) {
    extra.push({ digest: start.digest, size: start.blobBytes });
    sizes.set(start.blobId, start.blobBytes);
  }
  const { bootstrap, blobs } = start === undefined ? merged : mergeLayers(mergeable, rafs, {
    prefetch,
    memory,
    start: { tree: openBootstrap(start.bootstrap), blobId: start.blobId },
  });
  const blobSizes = new Map(blobs.flatMap(requiredBlobIds).map((id) => [id, sizes.get(id) ?? 0]));
  const { place } = target;
  await freeMemory(); // used by the merge
  const bootstrapTar = bootstrapLayerPieces(bootstrap, place && { ...place, blobSizes });
  const { fsVersion } = rafs;
  const made = await nydusImage(image, { layers, extraBlobs: extra, bootstrapTar, fsVersion, memory, pack });
  return { made, start: start && madeBlob(start), bootstrapBytes: bootstrap.length };
}

/** Has the target contain the original layers that files refer to. @returns them */
async function copyReferred(
  sources: readonly SourceLayer[],
  layers: readonly ConvertedLayer[],
  blobs: readonly BlobEntry[],
  target: ImageTarget,
  signal: AbortSignal,
): Promise<OriginalLayer["blob"][]> {
  const used = new Set(blobs.map(({ id }) => id));
  const copied = new Map<string, OriginalLayer["blob"]>();
  for (const [k, { refersTo: blob }] of layers.entries()) {
    const home = sources[k]?.stored?.home;
    if (blob === undefined || home === undefined || !used.has(digestHex(blob.digest)) || copied.has(blob.digest)) {
      continue;
    }
    await copyBlob(blob, home, target, signal);
    copied.set(blob.digest, blob);
  }
  return [...copied.values()];
}

/** Stores the blobs at the same time. Does not fail before all have ended. */
async function putAll(blobs: readonly ImageBlob[], target: ImageTarget, signal: AbortSignal): Promise<void> {
  const ends = await Promise.allSettled(blobs.map((blob) => target.putBytes(blob, signal)));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

function madeBlob({ bootstrap: _, ...blob }: ConvertedLayer): MadeBlob {
  return blob;
}

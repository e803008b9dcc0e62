/**
 * The chunks that an image reads at start-up as a layer of their own, stored in the order of reading.
 *
 * ```
 * merged image ─► mounted by FUSE, run once ─► chunks in order of first touch ─► a layer of them ─► merged in front
 * ```
 * The original layers stay unchanged, so other images can share them and they need not be converted again. Each chunk
 * is a file of the new layer. No tree shows these files: merging only prefers their chunks over equal ones.
 *
 * @module
 */
import { join } from "node:path";
import { preadExact } from "../../../../ffi/unistd.ts";
import { tarEntry } from "../../../archive/tar.ts";
import type { Backend } from "../../../backend/blob_source.ts";
import { throwIfAborted } from "../../../base/abort.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import { hasBit } from "../../../blob/cache/bits.ts";
import { BlobCache } from "../../../blob/blob_cache.ts";
import { FuseSession } from "../../../mount/fuse/session.ts";
import { formatPlatform, hostPlatform, matchesPlatform, type Platform } from "../../../oci/platform.ts";
import { MappedBootstrap } from "../../mapped_bootstrap.ts";
import { OpenImage } from "../../open_image.ts";
import { writeBootstrap } from "../../source/bootstrap_file.ts";
import { convertLayer, type LayerConversion } from "../reuse/convert_layer.ts";
import type { ConvertedLayer } from "../reuse/converted_layer.ts";
import type { Entries } from "../layer/build_layer.ts";
import { ReadLog } from "./read_log.ts";
import { RUN_FOLDERS, runOnce } from "./run_once.ts";
import type { RafsOptions } from "../format/rafs_options.ts";
import type { SourceLayer } from "../source/source_image.ts";

/** zstd level for data that every start fetches. */
const START_LEVEL = 19;

/** Batch size for the chunks of a start, which are needed together. nydusd reads batches of up to 16 MiB. */
const START_BATCH_BYTES = 1024 * 1024;

const log = logger("image");

/** Milliseconds without a new chunk after which a running command counts as started. */
const SETTLED_MS = 10_000;

/** Digits in the names of the layer's files, so that they sort in the order of the chunks. */
const NAME_DIGITS = 8;

/** What to run, and how. */
export interface StartRun {
  /** Command for the image's /bin/sh. */
  readonly command: string;
  /** An existing folder; removed afterwards. */
  readonly scratchDir: string;
  /** How long a read may wait for its data. */
  readonly deadlineMs: number;
}

/** The image to run. */
export interface StartingImage {
  /** The merged bootstrap. */
  readonly bootstrap: Uint8Array;
  /** Source of all its blobs. */
  readonly blobs: Backend;
  readonly platform: Platform;
  /** Its configuration as parsed JSON. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** @throws {NydusGdError} "environment" if this process cannot run images */
export function requireRunning(): void {
  if (Deno.uid() === 0) return;
  throw new NydusGdError("environment", "Cannot run the image: it needs root", {
    hint: "sudo nydus-gd convert --optimize-run …",
  });
}

/**
 * Runs the image and stores the layer's blob at the target; undefined if nothing is read, or for another machine type.
 *
 * @throws {NydusGdError} "environment" without FUSE, "usage" for a command that fails
 */
export async function convertStart(
  image: StartingImage,
  run: StartRun,
  conversion: LayerConversion,
): Promise<ConvertedLayer | undefined> {
  const { signal } = conversion;
  if (!matchesPlatform(hostPlatform(), image.platform)) {
    log.warn("image not run: it is for another machine", { platform: formatPlatform(image.platform) });
    return undefined;
  }
  const dir = await Deno.makeTempDir({ dir: run.scratchDir, prefix: "run-" });
  await using parts = new AsyncDisposableStack();
  const cache = parts.use(BlobCache.open(join(dir, "cache"), { readAheadBytes: 0 }));
  const path = join(dir, "image.boot");
  await writeBootstrap(path, image.bootstrap, conversion.memory);
  const opened = parts.use(
    OpenImage.open({ name: "image", bootstrap: MappedBootstrap.open(path), backend: image.blobs, cache }),
  );
  const reads = new ReadLog();
  await runMounted(opened, reads, { ...run, ...image, dir }, signal);
  throwIfAborted(signal);
  if (reads.chunks.length === 0) return undefined;
  const layer: SourceLayer = {
    what: `start of ${JSON.stringify(run.command)}`,
    diffId: undefined,
    size: undefined,
    hasWhiteouts: false,
    entries: () => entriesOf(opened, reads),
  };
  const rafs = startOptions(conversion.rafs);
  conversion.pool.start();
  const silent = { onRead: () => {}, onPut: () => {} };
  const made = await convertLayer(layer, { ...conversion, rafs, dictionary: undefined }, silent);
  await conversion.uploads.done();
  return made;
}

/**
 * The layer is small and always read as a whole, so larger batches and a higher level pay off. Chunks of less than half
 * a batch are batched.
 */
function startOptions(rafs: RafsOptions): RafsOptions {
  const level = rafs.compressor === "zstd" ? Math.max(rafs.level, START_LEVEL) : rafs.level;
  const batchSize = rafs.batchSize === 0 ? 0 : Math.max(rafs.batchSize, START_BATCH_BYTES);
  return { ...rafs, level, batchSize };
}

async function runMounted(
  image: OpenImage,
  reads: ReadLog,
  { dir, command, config, deadlineMs }: StartRun & StartingImage & { readonly dir: string },
  signal: AbortSignal,
): Promise<void> {
  for (const name of [...RUN_FOLDERS, "state"]) await Deno.mkdir(join(dir, name));
  const { name, bootstrap, tree } = image;
  await using _session = await FuseSession.start({
    mountpoint: join(dir, "image"),
    stateDir: join(dir, "state"),
    workers: 2,
    deadlineMs,
    single: { image: { name, bootstrap, tree, blobs: reads.storesOf(image.blobs) }, number: 1 },
  });
  await runOnce({ dir, config, command }, reads.whenSettled(SETTLED_MS, signal));
}

/** Adds each chunk as a file; chunks that could not be read are left out. */
function entriesOf({ blobs }: OpenImage, { chunks }: ReadLog): Entries {
  return async (builder) => {
    for (const [k, { blobIndex, row }] of chunks.entries()) {
      const opened = await blobs[blobIndex]?.open();
      if (opened === undefined || !hasBit(opened.ready, row)) continue;
      const { uncompressedOffset, uncompressedSize } = opened.chunks;
      const sizeBytes = uncompressedSize[row] as number;
      const plain = new Uint8Array(sizeBytes);
      preadExact(opened.dataFd, plain, uncompressedOffset[row] as number);
      const name = new TextEncoder().encode(String(k).padStart(NAME_DIGITS, "0"));
      builder.entry(tarEntry({ type: "file", name, mode: 0o444, sizeBytes }));
      builder.data(plain, 0);
      builder.endEntry();
      if (builder.isFull) await builder.settle();
    }
  };
}

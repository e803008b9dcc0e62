/**
 * Snapshots of the daemon's state, and the status document made from them.
 *
 * @module
 */
import { countText } from "../../lib/base/count_text.ts";
import { lowLimits } from "../../lib/base/process_limits.ts";
import { VERSION } from "../../lib/base/version.ts";
import type { BlobStats } from "../../lib/blob/cached_blob.ts";
import type { DockerContainer, DockerContainers } from "../../lib/image/docker/containers.ts";
import { dockerImageDir } from "../../lib/image/docker/files.ts";
import { DockerNames } from "../../lib/image/docker/names.ts";
import type { LazyImagesReport, MountedImageReport, Trouble } from "../../lib/image/lazy/report/images_report.ts";
import type { LazyImageStore } from "../../lib/image/lazy/lazy_image_store.ts";
import type { ImageStatus, StatusDocument } from "../../lib/image/lazy/report/status_document.ts";
import type { LazyLayer } from "../../lib/layer/lazy/lazy_images.ts";
import type { SnapshotStore } from "../../lib/snapshot/snapshot_store.ts";
import type { GraphDriver } from "../docker/driver.ts";

/** The parts of a daemon that a report covers. */
export interface AdminParts {
  readonly root: string;
  readonly images: LazyImageStore;
  readonly driver: GraphDriver;
  /** Default: none are served. */
  readonly snapshots?: Pick<SnapshotStore, "warnings" | "dir" | "count" | "nameOf"> | undefined;
  readonly containers: DockerContainers;
}

/** A snapshot of the daemon. */
export interface DaemonReport {
  readonly images: LazyImagesReport;
  /** Undefined until Docker's first call. */
  readonly layers: { readonly home: string; readonly mounted: number } | undefined;
  readonly troubles: readonly Trouble[];
}

/** Takes a snapshot of the daemon. */
export async function takeReport({ images, driver, snapshots }: AdminParts): Promise<DaemonReport> {
  const report = await images.report();
  const troubles = images.troubles(report);
  for (const { message, remedy } of lowLimits()) {
    troubles.push({ severity: "degraded", message: `${message}; ${remedy}` });
  }
  for (const message of snapshots?.warnings ?? []) troubles.push({ severity: "degraded", message });
  if (!driver.ready) return { images: report, layers: undefined, troubles };
  const { home, mountedCount, warnings } = driver.store;
  for (const message of warnings) troubles.push({ severity: "degraded", message });
  return { images: report, layers: { home, mounted: mountedCount }, troubles };
}

/** Creates status documents. */
export class StatusReporter {
  readonly #names = new DockerNames();
  readonly #startedAt = new Date();
  readonly #startedMs = performance.now();

  constructor(private readonly parts: AdminParts) {}

  /** @param logLevel the current level */
  async document(logLevel: string): Promise<StatusDocument> {
    const { images: report, layers, troubles } = await takeReport(this.parts);
    const { dataPath, cache, blobs, fuse } = report;
    const { snapshots } = this.parts;
    return {
      version: VERSION,
      pid: Deno.pid,
      started_at: this.#startedAt.toISOString(),
      uptime_seconds: Math.floor((performance.now() - this.#startedMs) / 1000),
      kernel: Deno.osRelease(),
      root: this.parts.root,
      log_level: logLevel,
      data_path: { fs_driver: dataPath.fsDriver, reason: dataPath.reason },
      cache: {
        dir: cache.dir,
        usage: "failure" in cache ? null : {
          used_bytes: cache.usedBytes,
          kernel_bytes: cache.kernelBytes,
          free_bytes: cache.freeBytes,
          total_bytes: cache.totalBytes,
        },
      },
      fetched: {
        bytes: blobs.bytesFetched,
        requests: blobs.requests,
        failed_requests: blobs.failedRequests,
        corrupt_chunks: blobs.corruptChunks,
      },
      fuse: fuse === undefined ? null : {
        requests: fuse.requests,
        cached_reads: fuse.reads,
        cached_read_bytes: fuse.readBytes,
        misses: fuse.misses,
        waiting_reads: fuse.waitingReads,
      },
      layers: layers ?? null,
      ...(snapshots === undefined ? {} : { snapshots: { dir: snapshots.dir, count: snapshots.count } }),
      images: await this.#images(report.images),
      problems: [...troubles],
    };
  }

  async #images(images: readonly MountedImageReport[]): Promise<ImageStatus[]> {
    const byHome = Map.groupBy(images, ({ layer }) => layer.home);
    const statuses = await Promise.all(Array.from(byHome, async ([home, own]) => {
      const imageDir = dockerImageDir(home);
      const [names, containers] = await Promise.all([
        this.#names.of(imageDir, new Set(own.flatMap(({ layer }) => layer.diffId ?? []))),
        this.parts.containers.of(imageDir, new Set(own.flatMap(({ holders }) => holders))),
      ]);
      const { snapshots } = this.parts;
      return own.map((image) =>
        imageStatus(image, names, (layerId) => {
          const name = snapshots?.nameOf(layerId);
          return name === undefined ? containers.get(layerId) : { id: name, name };
        })
      );
    }));
    return statuses.flat();
  }
}

/** @param names of Docker's images, by diffID @param containerOf returns the container of a layer or snapshot */
function imageStatus(
  image: MountedImageReport,
  names: ReadonlyMap<string, readonly string[]>,
  containerOf: (layerId: string) => DockerContainer | undefined,
): ImageStatus {
  const { layer, home, fsDriver, refusal, path, holders, misses, missesPerSecond, blobs, prefetch } = image;
  return {
    layer: layer.id,
    names: namesOf(layer, names),
    home,
    fs_driver: fsDriver,
    refusal: refusal ?? null,
    path,
    used_by: holders.map((holder) => {
      const { id = null, name = null } = containerOf(holder) ?? {};
      return { layer: holder, container: id, name };
    }),
    misses,
    misses_per_second: missesPerSecond,
    blobs: blobs.map(blobStatus),
    prefetch: prefetch === undefined
      ? null
      : { state: prefetch.state, ready_bytes: prefetch.readyBytes, failures: prefetch.failures },
    errors: blobs.flatMap(errorsOf),
  };
}

/** Docker's names of the image; of one that containerd has, the name by which it was pulled. */
function namesOf({ diffId, reference }: LazyLayer, names: ReadonlyMap<string, readonly string[]>): string[] {
  const ofDocker = names.get(diffId ?? "") ?? [];
  return ofDocker.length === 0 && reference !== undefined ? [reference] : [...ofDocker];
}

function blobStatus(blob: BlobStats): ImageStatus["blobs"][number] {
  return {
    id: blob.id,
    compressed_bytes: blob.compressedSize,
    uncompressed_bytes: blob.uncompressedSize,
    fetched_bytes: blob.bytesFetched,
    chunks: blob.chunks,
    chunks_ready: blob.chunksReady,
    requests: blob.requests,
    failed_requests: blob.failedRequests,
    corrupt_chunks: blob.corruptChunks,
  };
}

function errorsOf({ id, corruptChunks, lastFailure }: BlobStats): string[] {
  return [
    ...(lastFailure === undefined ? [] : [lastFailure]),
    ...(corruptChunks === 0 ? [] : [`blob ${id}: corrupt at its source: ${countText(corruptChunks, "chunk")}`]),
  ];
}

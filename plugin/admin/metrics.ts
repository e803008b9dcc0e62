/**
 * Metrics in Prometheus's text format.
 *
 * Names are `nydus_gd_<noun>_<base unit>[_total]`. Labels are bounded: never a layer, blob or image name. Values are
 * read from existing counters on each scrape, so nothing is counted twice. FUSE counters restart with a new session,
 * which Prometheus treats as a counter reset. Process metrics come from prom-client, except those of Node's event loop
 * and heap, which keep a timer running or are meaningless under Deno.
 *
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import osMemoryHeap from "prom-client/lib/metrics/osMemoryHeap.js";
import processCpuTotal from "prom-client/lib/metrics/processCpuTotal.js";
import processMaxFileDescriptors from "prom-client/lib/metrics/processMaxFileDescriptors.js";
import processOpenFileDescriptors from "prom-client/lib/metrics/processOpenFileDescriptors.js";
import processStartTime from "prom-client/lib/metrics/processStartTime.js";
import { VERSION } from "../../lib/base/version.ts";
import type { DaemonReport } from "./report.ts";

/** Reads one value from a report; undefined if it is not available. */
type Read = (report: DaemonReport) => number | undefined;

const COUNTERS: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  nydus_gd_fetched_bytes_total: ["Bytes that came from blob sources.", ({ images }) => images.blobs.bytesFetched],
  nydus_gd_fetch_requests_total: [
    "Reads of blob sources, failed ones included.",
    ({ images }) => images.blobs.requests,
  ],
  nydus_gd_failed_fetch_requests_total: [
    "Reads of blob sources that failed.",
    ({ images }) => images.blobs.failedRequests,
  ],
  nydus_gd_corrupt_chunks_total: [
    "Chunks that did not match their digest however often they were fetched.",
    ({ images }) => images.blobs.corruptChunks,
  ],
  nydus_gd_fuse_requests_total: ["Requests of the kernel.", ({ images }) => images.fuse?.requests ?? 0],
  nydus_gd_fuse_cached_reads_total: ["Reads answered from the cache.", ({ images }) => images.fuse?.reads ?? 0],
  nydus_gd_fuse_cached_read_bytes_total: [
    "Bytes of reads answered from the cache.",
    ({ images }) => images.fuse?.readBytes ?? 0,
  ],
  nydus_gd_fuse_misses_total: ["Reads that had to wait for data.", ({ images }) => images.fuse?.misses ?? 0],
  nydus_gd_denied_reads_total: [
    "Reads that failed because the kernel could not ask about them.",
    ({ images }) => images.fuse?.denied ?? 0,
  ],
  nydus_gd_failed_threads_total: [
    "Threads that failed while they answered the kernel, and were replaced.",
    ({ images }) => images.fuse?.threadFailures ?? 0,
  ],
  nydus_gd_lost_images_total: [
    "Images whose FUSE session ended by itself.",
    ({ images }) => images.lostImages,
  ],
};

const GAUGES: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  nydus_gd_fuse_waiting_reads: ["Reads that wait for data now.", ({ images }) => images.fuse?.waitingReads ?? 0],
  nydus_gd_chunks: ["Chunks of the blobs that are in use.", (report) => sumOfBlobs(report, "chunks")],
  nydus_gd_ready_chunks: [
    "Chunks of the blobs that are in use, verified and in the cache.",
    (report) => sumOfBlobs(report, "chunksReady"),
  ],
  nydus_gd_cache_bytes: ["Bytes that the cache occupies.", (report) => cacheOf(report)?.usedBytes],
  nydus_gd_cache_free_bytes: [
    "Bytes that the file system of the cache has left.",
    (report) => cacheOf(report)?.freeBytes,
  ],
  nydus_gd_cache_size_bytes: ["Bytes of the file system of the cache.", (report) => cacheOf(report)?.totalBytes],
  nydus_gd_mounted_layers: ["Layers that Docker has mounted.", ({ layers }) => layers?.mounted ?? 0],
};

const SEVERITIES = ["failed", "degraded"] as const;

/** The metrics of one daemon. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #counters = Object.entries(COUNTERS).map(([name, [help, read]]) =>
    [new Counter({ name, help, registers: [this.#registry] }), read] as const
  );
  readonly #gauges = Object.entries(GAUGES).map(([name, [help, read]]) =>
    [new Gauge({ name, help, registers: [this.#registry] }), read] as const
  );
  readonly #images = this.#gauge("nydus_gd_mounted_images", "Lazy images that are mounted.", "fs_driver");
  readonly #problems = this.#gauge("nydus_gd_problems", "Current problems.", "severity");

  constructor() {
    this.#gauge("nydus_gd_build_info", "1, with what this is.", "version", "deno", "arch")
      .set({ version: VERSION, deno: Deno.version.deno, arch: Deno.build.arch }, 1);
    const collectors = [
      processCpuTotal,
      processStartTime,
      osMemoryHeap,
      processOpenFileDescriptors,
      processMaxFileDescriptors,
    ];
    for (const collect of collectors) collect(this.#registry);
  }

  /** The names of all metrics. */
  get names(): string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name);
  }

  /** The content type of the format. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Returns the metrics for `report`. */
  text(report: DaemonReport): Promise<string> {
    for (const [counter, read] of this.#counters) {
      counter.reset();
      counter.inc(read(report) ?? 0);
    }
    for (const [gauge, read] of this.#gauges) {
      const value = read(report);
      if (value === undefined) gauge.remove();
      else gauge.set(value);
    }
    this.#images.reset();
    this.#images.set({ fs_driver: report.images.dataPath.fsDriver }, 0);
    for (const { fsDriver } of report.images.images) this.#images.inc({ fs_driver: fsDriver });
    for (const severity of SEVERITIES) {
      this.#problems.set({ severity }, report.troubles.filter((trouble) => trouble.severity === severity).length);
    }
    return this.#registry.metrics();
  }

  #gauge<Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }
}

function sumOfBlobs({ images }: DaemonReport, key: "chunks" | "chunksReady"): number {
  return images.blobs.blobs.reduce((sum, blob) => sum + blob[key], 0);
}

function cacheOf({ images: { cache } }: DaemonReport): Exclude<typeof cache, { failure: string }> | undefined {
  return "failure" in cache ? undefined : cache;
}

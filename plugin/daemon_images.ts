/**
 * The lazy-image side of a daemon: assembles cache, backends and kernel mounts.
 *
 * ```
 * PulledImages ─► keychain ─► backends ─► BlobCache ─┬─► LazyImageStore ─► ImageMounts   layers of Docker
 *                                                    └─► OfferedImages                   nydusd's API
 * ```
 * The two on the right share the kernel's state, so a successor takes over both.
 *
 * @module
 */
import { type BackendDeps, openBackend } from "../lib/backend/open_backend.ts";
import { fetchOptionsOf } from "../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../lib/backend/http/http_client.ts";
import { certsDirs, Mirrors } from "../lib/backend/registry/certs_dir.ts";
import { dockerConfigDir, DockerKeychain, firstOf } from "../lib/backend/registry/keychain.ts";
import { logger } from "../lib/base/log.ts";
import type { Settings } from "../lib/base/settings.ts";
import { BlobCache } from "../lib/blob/blob_cache.ts";
import { cacheOptions, fetchTuning, prefetchScope } from "../lib/image/prefetch/fetch_plan.ts";
import { DockerContainers } from "../lib/image/docker/containers.ts";
import { dockerImageDir } from "../lib/image/docker/files.ts";
import { discardBlobs, keepBlobs } from "../lib/image/gc/layer_blobs.ts";
import { ImageNumbers } from "../lib/image/lazy/records/image_numbers.ts";
import { backendCandidates, whenPlaced } from "../lib/image/lazy/open/backend_candidates.ts";
import { findMounted } from "../lib/image/lazy/records/found_images.ts";
import { LazyImageStore } from "../lib/image/lazy/lazy_image_store.ts";
import { LearnedReads } from "../lib/image/prefetch/learned_reads.ts";
import { MountRecord, mountRecordPath } from "../lib/image/lazy/records/mount_record.ts";
import { OfferedImages } from "../lib/image/lazy/offered/offered_images.ts";
import { PulledImages } from "../lib/image/lazy/records/pulled_images.ts";
import { ReadRecorder } from "../lib/image/prefetch/read_recorder.ts";
import type { LayersLeft, LazyLayer } from "../lib/layer/lazy/lazy_images.ts";
import { isInitLayer } from "../lib/layer/record/layer_id.ts";
import { chooseDataPath } from "../lib/mount/choose.ts";
import type { DataPathChoice } from "../lib/mount/data_path.ts";
import { Keeper, keeperPath } from "../lib/mount/keeper/keeper.ts";
import { KernelImages } from "../lib/mount/erofs/kernel_images.ts";
import { clearProbes } from "../lib/mount/erofs/probe_places.ts";
import { requireIdmaps } from "../lib/mount/idmaps.ts";
import { ImageMounts, type ImageMountsOptions } from "../lib/mount/image_mounts.ts";
import { insecureRegistries } from "../lib/setup/docker/docker_registries.ts";
import type { DaemonFolders } from "./daemon_folders.ts";
import type { StorageOptions } from "./docker/init_options.ts";
import type { NydusdConfigInUse } from "./nydusd_config_in_use.ts";

const log = logger("serve");

/** Options of {@link DaemonImages}. */
export interface DaemonImagesOptions {
  readonly folders: DaemonFolders;
  readonly settings: Settings;
  readonly config: NydusdConfigInUse;
  /** The requested data path, or "auto". */
  readonly fsDriver: string;
  /** Lists all bootstrap layers that are known. */
  readonly layers: () => Promise<readonly LazyLayer[]>;
  /** Lists those that the disk tells of, with Docker's if its home is passed. */
  readonly layersLeft: (home?: string) => Promise<LayersLeft>;
}

/** Dependencies shared by several parts. */
interface Shared extends DaemonImagesOptions {
  readonly pulled: PulledImages;
  readonly deps: BackendDeps;
  readonly cache: BlobCache;
  readonly record: MountRecord;
  readonly numbers: ImageNumbers;
  readonly containers: DockerContainers;
  readonly places: Omit<ImageMountsOptions, "dataPath">;
}

/** The lazy images of a daemon. Disposing leaves images in use to the keeper and the next daemon. */
export class DaemonImages implements AsyncDisposable {
  private constructor(
    private readonly parts: AsyncDisposableStack,
    private readonly shared: Shared,
    readonly store: LazyImageStore,
    readonly offered: OfferedImages,
  ) {}

  /** Opens all parts. Mounts and takes over nothing yet. */
  static async open(options: DaemonImagesOptions): Promise<DaemonImages> {
    await using parts = new AsyncDisposableStack();
    const shared = await share(parts, options);
    await clearProbes(shared.places.stateDir, shared.places.cacheDir);
    const offered = parts.use(
      await openOffered(shared, async () => {
        await store.resume(() => options.layersLeft());
        return await store.serving();
      }),
    );
    const store: LazyImageStore = parts.adopt(await makeStore(shared, offered), (store) => store.handOver());
    return new DaemonImages(parts.move(), shared, store, offered);
  }

  get cache(): BlobCache {
    return this.shared.cache;
  }

  get pulled(): PulledImages {
    return this.shared.pulled;
  }

  get containers(): DockerContainers {
    return this.shared.containers;
  }

  /** Applies Docker's storage options, and takes over the mounts of an earlier daemon. */
  async configure(home: string, options: StorageOptions): Promise<void> {
    const { settings, config, cache, layersLeft } = this.shared;
    const wanted = options["fs-driver"];
    if (wanted !== undefined) this.store.useDataPath(await dataPathOf(this.shared, wanted));
    await config.use(options.config);
    cache.tune(fetchTuning(settings, config.current));
    await this.store.resume(() => layersLeft(home));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.parts.disposeAsync();
  }
}

async function share(parts: AsyncDisposableStack, options: DaemonImagesOptions): Promise<Shared> {
  const { folders, settings, config } = options;
  const pulled = await PulledImages.open(folders.pulled);
  const ofDocker = new DockerKeychain({ configDir: dockerConfigDir(settings.docker.config) });
  const deps = {
    http: parts.use(new HttpClient(fetchOptionsOf(settings.fetch))),
    keychain: firstOf(ofDocker, pulled.keychain),
    mirrors: new Mirrors(certsDirs(settings.fetch.certsDir)),
    insecure: await insecureRegistries(),
  };
  const cacheDir = settings.cache.dir ?? config.atStart?.cache.workDir ?? folders.cache;
  const cache = parts.use(BlobCache.open(cacheDir, { ...cacheOptions(settings, config.atStart), setBy: "cache.dir" }));
  const places = {
    mountpoint: folders.images,
    erofsDir: folders.erofs,
    stateDir: folders.state,
    workers: settings.mount.workers,
    deadlineMs: settings.fetch.deadlineMs,
    cacheMount: cache.ownMount,
    cacheDir: cache.stats().dir,
    minFree: settings.cache.minFree,
  };
  const record = await MountRecord.open(mountRecordPath(folders.state));
  const hadImages = record.wasUsed || await Keeper.isOfThisBoot(keeperPath(folders.state));
  const numbers = await ImageNumbers.open(
    `${folders.state}/image-numbers.json`,
    hadImages ? record.numbers() : undefined,
  );
  return { ...options, pulled, deps, cache, record, numbers, containers: new DockerContainers(), places };
}

/** @param serving takes over the mounts of an earlier daemon, then returns the server of the kernel's cache */
async function openOffered(
  { folders, settings, deps, cache, numbers }: Shared,
  serving: Parameters<typeof OfferedImages.open>[0]["serving"],
): Promise<OfferedImages> {
  return await OfferedImages.open({
    path: `${folders.state}/offered-images.json`,
    cache,
    numbers,
    backendOf: ({ backend }) => openBackend(backend, deps),
    prefetch: (config) => prefetchScope(settings, config),
    minFree: settings.cache.minFree,
    serving,
  });
}

async function makeStore(shared: Shared, offered: OfferedImages): Promise<LazyImageStore> {
  const { folders, settings, config, fsDriver, layers, pulled, deps, cache, record, numbers, containers, places } =
    shared;
  const { trustedOrigins, deadlineMs } = settings.fetch;
  const learned = settings.prefetch.learned ? await LearnedReads.open(`${folders.state}/learned`) : undefined;
  const whenQuiet = (quietMs: number, signal: AbortSignal) => cache.whenQuiet(quietMs, signal);
  return new LazyImageStore({
    stateDir: folders.homes,
    cache,
    numbers,
    record,
    kernelImages: new KernelImages(folders.state),
    recorder: learned && ((bootstrapPath) => new ReadRecorder(bootstrapPath, { learned, whenQuiet })),
    startMounts: (dataPath) => ImageMounts.start({ ...places, dataPath }),
    takeOverMounts: async (dataPath, opened) => {
      const taken = await ImageMounts.takeOver({ ...places, dataPath, offered: () => offered.reopen() }, opened);
      await offered.forgetBefore();
      return taken;
    },
    findMounted: (left) => findMounted(left, places),
    deadlineMs,
    candidates: (layer, chosen) =>
      backendCandidates(layer, { config: config.current, trustedOrigins, deps, pulled }, chosen),
    whenPlaced: (layer, signal) => whenPlaced(layer, pulled, signal),
    commandOf: ({ home }, holder) =>
      isInitLayer(holder) ? undefined : containers.commandOf(dockerImageDir(home), holder),
    onArrived: (layer) => keepBlobs(layer, cache),
    onForgotten: async (layer) => {
      const isWanted = ({ id, diffId }: LazyLayer) => id !== layer.id && diffId === layer.diffId;
      if (!(await layers()).some(isWanted)) await pulled.forget(layer.diffId);
      await discardBlobs(layer, layers, cache);
    },
    dataPath: await dataPathOf(shared, fsDriver),
    requireIdmaps: (used) => requireIdmaps(used, places.stateDir),
    minFree: settings.cache.minFree,
    prefetch: () => prefetchScope(settings, config.current),
    validate: () => config.current?.rafs.validate ?? false,
  });
}

/** Chooses the data path. Logs why, and the warning that applies to an explicitly requested one. */
async function dataPathOf({ places, config }: Shared, wanted: string): Promise<DataPathChoice> {
  const dataPath = await chooseDataPath(wanted, places, { prefersFscache: config.current?.cache.type === "fscache" });
  const { fsDriver, reason, warning } = dataPath;
  log.info("data path chosen", { fsDriver, reason });
  if (warning !== undefined) log.warn(warning, { fsDriver });
  return dataPath;
}

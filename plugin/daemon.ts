/**
 * The daemon: every room put together behind the graph-driver socket.
 *
 * ```
 * settings, nydusd's configuration
 *        │
 *        ▼
 *  BlobCache ─► LazyImageStore ─► LayerStore ─► graph-driver app ─► unix socket
 *                        └─────────────┴──────► admin app ────────► unix socket
 * ```
 * A stop leaves containers running and their layers mounted. A keeper holds what the kernel has of lazy images: reads of
 * what is not in the page cache wait for the next server, which takes over. That holds for a kill as well.
 *
 * @module
 */
import { inheritedDescriptors, notifyReady } from "../ffi/libsystemd.ts";
import { mapLargePieces } from "../ffi/malloc.ts";
import { mountAt } from "../ffi/mountinfo.ts";
import type { NydusdConfig } from "../lib/backend/nydusd_config.ts";
import { type BackendDeps, openBackend } from "../lib/backend/open_backend.ts";
import { fetchOptionsOf } from "../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../lib/backend/http/http_client.ts";
import { certsDirs, Mirrors } from "../lib/backend/registry/certs_dir.ts";
import { dockerConfigDir, DockerKeychain, firstOf } from "../lib/backend/registry/keychain.ts";
import { whenAborted } from "../lib/base/abort.ts";
import { NydusGdError } from "../lib/base/errors.ts";
import { logger } from "../lib/base/log.ts";
import type { Settings } from "../lib/base/settings.ts";
import { trimMemory } from "../lib/base/trim_memory.ts";
import { BlobCache } from "../lib/blob/blob_cache.ts";
import { type ConfigPath, readNydusdConfig, readSettings } from "../lib/image/config_files.ts";
import { cacheOptions, fetchTuning, prefetchScope } from "../lib/image/fetch_plan.ts";
import { collectGarbage, type GarbageOptions } from "../lib/image/gc/collect_garbage.ts";
import { discardBlobs } from "../lib/image/gc/layer_blobs.ts";
import { STATE_FOLDERS } from "../lib/image/gc/state_left_overs.ts";
import { ImageNumbers } from "../lib/image/image_numbers.ts";
import { homesOf } from "../lib/image/layer_homes.ts";
import { LearnedReads } from "../lib/image/learned_reads.ts";
import { MountedImages } from "../lib/image/mounted_images.ts";
import { dropImagePages } from "../lib/image/open_image.ts";
import { OfferedImages } from "../lib/image/offered_images.ts";
import { ReadRecorder } from "../lib/image/read_recorder.ts";
import { PulledImages } from "../lib/image/pulled_images.ts";
import { LazyImageStore } from "../lib/image/lazy_image_store.ts";
import { Applier } from "../lib/layer/applier.ts";
import { Differ } from "../lib/layer/differ.ts";
import { lockFileSoon } from "../lib/layer/home_lock.ts";
import type { IdMaps } from "../lib/layer/id_maps.ts";
import { LayerStore } from "../lib/layer/layer_store.ts";
import { parseSize } from "../lib/layer/storage_options.ts";
import { chooseDataPath, namedFsDriver } from "../lib/mount/choose.ts";
import { KernelImages } from "../lib/mount/erofs/kernel_images.ts";
import { guardOf } from "../lib/mount/keeper/guard.ts";
import { clearProbes } from "../lib/mount/erofs/probe_places.ts";
import { ImageMounts, type ImageMountsOptions } from "../lib/mount/image_mounts.ts";
import { createAdminApp, createObserverApp } from "./admin/app.ts";
import { createGraphDriverApp } from "./docker/app.ts";
import { GraphDriver } from "./docker/driver.ts";
import type { StorageOptions } from "./docker/init_options.ts";
import { createNydusdApp } from "./nydusd/app.ts";
import { serveTcp } from "./serve_tcp.ts";
import { serveUnix } from "./serve_unix.ts";

const log = logger("serve");

/** Buffers from this size on are unmapped when they are freed: what made an image or a request leaves nothing behind. */
const LARGE_PIECE_BYTES = 128 * 1024;

/** How the daemon is started. */
export interface ServeOptions {
  /** State and cache. */
  readonly root: string;
  /** nydusd's own configuration. */
  readonly config: ConfigPath;
  readonly settings: ConfigPath;
  /** Graph-driver socket. */
  readonly socket: string;
  /** Health, metrics and status. */
  readonly adminSocket: string;
  /** The part of nydusd's API for mounts by hand; absent: none. */
  readonly apisock?: string;
  /** Absent: what the settings say. */
  readonly fsDriver?: string;
}

/** What the daemon runs in. */
export interface ServeContext {
  /** Its abort is the ordinary end. */
  readonly signal: AbortSignal;
  readonly log: {
    readonly level: Settings["log"]["level"];
    readonly explicit: boolean;
    setLevel(level: Settings["log"]["level"]): void;
  };
}

/** Runs the daemon until the signal. */
export async function serve(args: ServeOptions, { signal, log: logControl }: ServeContext): Promise<void> {
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot serve: mounting needs root", { hint: "sudo nydus-gd serve" });
  }
  inheritedDescriptors(); // before another program is started, which must not have them
  const settings = await readSettings(args.settings);
  if (!logControl.explicit) logControl.setLevel(settings.log.level);
  const fsDriver = args.fsDriver ?? settings.mount.fsDriver;
  namedFsDriver(fsDriver);
  await using daemon = await Daemon.start(args, { settings, fsDriver, log: logControl });
  log.info("serving", { socket: args.socket, adminSocket: args.adminSocket, root: args.root });
  notifyReady();
  await Promise.race([whenAborted(signal), daemon.finished]);
  log.info("stopping, containers go on");
}

/** What a daemon is made from beside its arguments. */
interface DaemonParts {
  readonly settings: Settings;
  readonly fsDriver: string;
  readonly log: ServeContext["log"];
}

/** What runs between start and stop. */
class Daemon implements AsyncDisposable {
  private constructor(private readonly parts: AsyncDisposableStack, readonly finished: Promise<void>) {}

  static async start(args: ServeOptions, { settings, fsDriver, log: logControl }: DaemonParts): Promise<Daemon> {
    await using parts = new AsyncDisposableStack();
    await Deno.mkdir(args.root, { recursive: true, mode: 0o700 });
    parts.use(await lockFileSoon(`${args.root}/lock`, `root "${args.root}"`));
    const folders = await makeFolders(args.root);
    mapLargePieces(LARGE_PIECE_BYTES);
    parts.use(trimMemory(dropImagePages));
    const pulled = await PulledImages.open(folders.pulled);
    const ofDocker = new DockerKeychain({ configDir: dockerConfigDir(settings.docker.config) });
    const deps: BackendDeps = {
      http: parts.use(new HttpClient(fetchOptionsOf(settings.fetch))),
      keychain: firstOf(ofDocker, pulled.keychain),
      mirrors: new Mirrors(certsDirs(settings.fetch.certsDir)),
    };
    const applier = parts.use(new Applier());
    const differ = parts.use(new Differ());
    const configOf = (path: string | undefined) =>
      readNydusdConfig(path === undefined ? args.config : { path, explicit: true });
    const config = await configOf(undefined);
    const cache = parts.use(
      BlobCache.open(
        settings.cache.dir ?? config?.cache.workDir ?? folders.cache,
        cacheOptions(settings, config),
      ),
    );
    const numbers = await ImageNumbers.open(`${folders.state}/image-numbers.json`);
    const record = await MountedImages.open(`${folders.state}/mounted-images.json`);
    const learned = settings.prefetch.learned ? await LearnedReads.open(`${folders.state}/learned`) : undefined;
    const whenQuiet = (quietMs: number, signal: AbortSignal) => cache.whenQuiet(quietMs, signal);
    const places: Omit<ImageMountsOptions, "dataPath"> = {
      mountpoint: folders.images,
      erofsDir: folders.erofs,
      stateDir: folders.state,
      workers: settings.mount.workers,
      deadlineMs: settings.fetch.deadlineMs,
      cacheMount: cache.ownMount,
      cacheDir: cache.stats().dir,
      minFree: settings.cache.minFree,
    };
    await clearProbes(places.stateDir, places.cacheDir);
    let current = config;
    const dataPathOf = async (wanted: string) => {
      const dataPath = await chooseDataPath(wanted, places, guardOf(), current?.cache.type === "fscache");
      if (dataPath.warning !== undefined) log.warn(dataPath.warning, { fsDriver: dataPath.fsDriver });
      return dataPath;
    };
    const { trustedOrigins, deadlineMs } = settings.fetch;
    const offered = parts.use(
      await OfferedImages.open({
        path: `${folders.state}/offered-images.json`,
        cache,
        numbers,
        backendOf: ({ backend }) => openBackend(backend, deps),
        prefetch: (config) => prefetchScope(settings, config),
        minFree: settings.cache.minFree,
        serving: async () => {
          await images.resume();
          return await images.serving();
        },
      }),
    );
    const images: LazyImageStore = parts.adopt(
      new LazyImageStore({
        stateDir: folders.homes,
        cache,
        numbers,
        record,
        kernelImages: new KernelImages(folders.state),
        recorder: learned && ((bootstrapPath) => new ReadRecorder(bootstrapPath, { learned, whenQuiet })),
        startMounts: (dataPath) => ImageMounts.start({ ...places, dataPath }),
        takeOverMounts: async (dataPath, opened) => {
          const taken = await ImageMounts.takeOver({ ...places, dataPath, offered: () => offered.again() }, opened);
          if (taken === undefined) await ImageMounts.abandon(places);
          await offered.forgetBefore();
          return taken;
        },
        deadlineMs,
        candidates: (layer) => homesOf(layer, { config: current, trustedOrigins, deps, pulled }),
        onForgotten: async (layer) => {
          await pulled.forget(layer.diffId);
          await discardBlobs(layer, cache);
        },
        dataPath: await dataPathOf(fsDriver),
        minFree: settings.cache.minFree,
        prefetch: () => prefetchScope(settings, current),
        validate: () => current?.rafs.validate ?? false,
      }),
      (store) => store.handOver(),
    );
    const openStore = async (home: string, options: StorageOptions, idMaps: IdMaps): Promise<LayerStore> => {
      const limitBytes = options.size === undefined ? 0 : parseSize(options.size, "limit containers");
      const wanted = options["fs-driver"];
      if (wanted !== undefined) images.useDataPath(await dataPathOf(wanted));
      current = await configOf(options.config);
      requireSameKeeping(current, config);
      cache.tune(fetchTuning(settings, current));
      await images.resume();
      return await LayerStore.open(home, { lazyImages: images, applier, differ, idMaps, limitBytes });
    };
    const driver = parts.use(await GraphDriver.resume({ stateFile: `${folders.state}/graph-driver.json`, openStore }));
    if (offered.hasPredecessor) await images.resume();
    cache.trim(); // images in use were taken over by now
    const collect = async (options: GarbageOptions) => {
      const layers = driver.ready ? await driver.store.lazyLayers() : undefined;
      return await collectGarbage({ cache, stateDir: folders.state, pulled, layers, images }, options);
    };
    const admin = { root: args.root, images, driver, pulled, collect, log: logControl };
    parts.use(await serveUnix(args.adminSocket, createAdminApp(admin), "--admin-socket"));
    if (args.apisock !== undefined) parts.use(await serveUnix(args.apisock, createNydusdApp(offered), "--apisock"));
    const { listen } = settings.metrics;
    if (listen !== undefined) parts.use(serveTcp(listen, createObserverApp(admin)));
    const server = parts.use(await serveUnix(args.socket, createGraphDriverApp(driver)));
    return new Daemon(parts.move(), server.finished);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.parts.disposeAsync();
  }
}

/**
 * The cache is open when Docker names a configuration: one that wants nothing to be kept comes too late.
 *
 * @throws {NydusGdError} "unsupported"
 */
function requireSameKeeping(current: NydusdConfig | undefined, atStart: NydusdConfig | undefined): void {
  if (current?.cache.type !== "dummycache" || atStart?.cache.type === "dummycache") return;
  throw new NydusGdError(
    "unsupported",
    "Cannot use configuration: its cache.type is dummycache, and the cache is kept",
    {
      hint: "nydus-gd serve --config FILE",
    },
  );
}

interface Folders {
  readonly cache: string;
  readonly state: string;
  /** Choices of homes, see LazyImageStore. */
  readonly homes: string;
  /** What `nydus-gd pull` handed over. */
  readonly pulled: string;
  /** Mount point of the FUSE session. */
  readonly images: string;
  /** Mount points of EROFS images. */
  readonly erofs: string;
}

async function makeFolders(root: string): Promise<Folders> {
  const folders = {
    cache: `${root}/cache`,
    state: `${root}/state`,
    homes: `${root}/state/${STATE_FOLDERS.homes}`,
    pulled: `${root}/state/${STATE_FOLDERS.pulled}`,
    images: `${root}/images`,
    erofs: `${root}/erofs`,
  };
  for (const folder of Object.values(folders)) {
    // the mount of an earlier server answers nobody until it is taken over
    if (mountAt(folder) === undefined) await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  }
  return folders;
}

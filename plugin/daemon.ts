/**
 * The daemon: all modules assembled behind the sockets of graph driver and snapshotter.
 *
 * ```
 * settings, nydusd's configuration
 *        │
 *        ▼
 *  DaemonImages ─┬─► LayerStore ─────► graph-driver app ───► unix socket   Docker up to 27
 *        │       └─► SnapshotStore ──► snapshot service ───► unix socket   containerd, if it is asked for
 *        └─────────────┴─────────────► admin app ──────────► unix socket
 * ```
 * A stop leaves containers running and their layers mounted. A keeper process holds the kernel's descriptors of lazy
 * images: reads that miss the page cache wait until the next daemon takes over. The same holds after a kill.
 *
 * @module
 */
import { notifyReady } from "../ffi/libsystemd.ts";
import { mapLargePieces } from "../ffi/malloc.ts";
import { whenAborted } from "../lib/base/abort.ts";
import { logger } from "../lib/base/log.ts";
import type { Settings } from "../lib/base/settings.ts";
import { trimMemory } from "../lib/base/trim_memory.ts";
import { type ConfigPath, readSettings } from "../lib/backend/config_files.ts";
import { dockerImageDir } from "../lib/image/docker/files.ts";
import { dockerRecords } from "../lib/image/docker/layers.ts";
import { collectGarbage, type GarbageOptions, type GarbageReport } from "../lib/image/gc/collect_garbage.ts";
import { discardBlobsOfBefore } from "../lib/image/gc/layer_blobs.ts";
import { layersLeft } from "../lib/image/lazy/records/found_images.ts";
import { dropImagePages } from "../lib/image/open_image.ts";
import { Applier } from "../lib/layer/apply/applier.ts";
import { Differ } from "../lib/layer/diff/differ.ts";
import { lockFileSoon } from "../lib/base/server_lock.ts";
import type { IdMaps } from "../lib/layer/userns/id_maps.ts";
import { LayerStore, type LayerStoreParts } from "../lib/layer/layer_store.ts";
import { HOME_REMEDY, servedHomePath } from "../lib/layer/home/served_home.ts";
import { parseSize } from "../lib/layer/make/storage_options.ts";
import { UNBORN_AFTER_MS } from "../lib/layer/remove/unborn_layers.ts";
import { fanotifyKeeperPath, fscacheKeeperPath, Keeper, keeperPath } from "../lib/mount/keeper/keeper.ts";
import { namedFsDriver } from "../lib/mount/data_path.ts";
import { snapshotterDir } from "../lib/snapshot/snapshot_paths.ts";
import type { SnapshotStore, SnapshotStoreParts } from "../lib/snapshot/snapshot_store.ts";
import { createAdminApp, createObserverApp } from "./admin/app.ts";
import { openEndpoint } from "./containerd/endpoint.ts";
import type { SnapshotterServer } from "./containerd/serve_grpc.ts";
import { type DaemonFolders, makeFolders } from "./daemon_folders.ts";
import { DaemonImages } from "./daemon_images.ts";
import { createGraphDriverApp } from "./docker/app.ts";
import { GraphDriver } from "./docker/driver.ts";
import type { StorageOptions } from "./docker/init_options.ts";
import { KnownLayers } from "./known_layers.ts";
import { createNydusdApp } from "./nydusd/app.ts";
import { NydusdConfigInUse } from "./nydusd_config_in_use.ts";
import { serveTcp } from "./sockets/serve_tcp.ts";
import { serveUnix } from "./sockets/serve_unix.ts";

const log = logger("serve");

/**
 * Freed buffers of at least this size are unmapped, so that temporary data of images and requests leaves no heap
 * behind.
 */
const LARGE_PIECE_BYTES = 128 * 1024;

/** Command-line options of the daemon. */
export interface ServeOptions {
  /** Directory of state and cache. */
  readonly root: string;
  /** nydusd's configuration file. */
  readonly config: ConfigPath;
  readonly settings: ConfigPath;
  /** Path of the graph-driver socket. */
  readonly socket: string;
  /** Path of the socket of the admin API. */
  readonly adminSocket: string;
  /** Path of the socket of the proxy snapshotter for containerd. Default: not served. */
  readonly snapshotterSocket?: string;
  /** Path of the socket of nydusd's API for manual EROFS mounts. Default: not served. */
  readonly apisock?: string;
  /** Default: the one in the settings. */
  readonly fsDriver?: string;
}

/** The environment of a running daemon. */
export interface ServeContext {
  /** Aborted for an orderly stop. */
  readonly signal: AbortSignal;
  readonly log: {
    readonly level: Settings["log"]["level"];
    setLevel(level: Settings["log"]["level"]): void;
    follow(settings: Settings["log"]): void;
  };
}

/**
 * Runs the daemon until `signal` is aborted.
 *
 * @param taken the endpoint for containerd, if it was taken over: calls wait there
 */
export async function runDaemon(
  args: ServeOptions,
  { signal, log: logControl }: ServeContext,
  taken: SnapshotterServer | undefined,
): Promise<void> {
  const settings = await readSettings(args.settings);
  logControl.follow(settings.log);
  const fsDriver = args.fsDriver ?? settings.mount.fsDriver;
  namedFsDriver(fsDriver);
  await using daemon = await Daemon.start(args, { settings, fsDriver, log: logControl, taken });
  log.info("serving", { socket: args.socket, adminSocket: args.adminSocket, root: args.root });
  notifyReady();
  await Promise.race([whenAborted(signal), daemon.finished]);
  log.info("stopping, containers keep running");
}

/** Dependencies of a daemon besides its options. */
interface DaemonParts {
  readonly settings: Settings;
  readonly fsDriver: string;
  readonly log: ServeContext["log"];
  readonly taken: SnapshotterServer | undefined;
}

/** A running daemon. */
class Daemon implements AsyncDisposable {
  private constructor(private readonly parts: AsyncDisposableStack, readonly finished: Promise<void>) {}

  /** Takes over what an earlier daemon has left before it listens anywhere. What is started last ends first. */
  static async start(args: ServeOptions, { settings, fsDriver, log: logControl, taken }: DaemonParts): Promise<Daemon> {
    await using parts = new AsyncDisposableStack();
    const { root, snapshotterSocket } = args;
    const folders = await takeRoot(root, parts);
    mapLargePieces(LARGE_PIECE_BYTES);
    parts.use(trimMemory(dropImagePages));
    const workers = { applier: parts.use(new Applier()), differ: parts.use(new Differ()) };
    const config = await NydusdConfigInUse.read(args.config);
    const known = new KnownLayers(snapshotterDir(root));
    const layers = () => known.list();
    const left = (home?: string) => layersLeft(home, snapshotterDir(root));
    const images = parts.use(
      await DaemonImages.open({ folders, settings, config, fsDriver, layers, layersLeft: left }),
    );
    const { store, offered, cache, pulled, containers } = images;
    const driver = known.driver = parts.use(await resumeDriver(folders, images, workers));
    if (offered.hasPredecessor || snapshotterSocket !== undefined) await store.resume(left);
    if (!driver.ready && !store.hasSession) await reportWaiting(folders.state);
    if (snapshotterSocket !== undefined) {
      known.snapshots = parts.use(await openSnapshots(root, { lazyImages: store, differ: workers.differ }));
    }
    const { snapshots } = known;
    if (known.areAll) await discardBlobsOfBefore(layers, cache); // images in use have been taken over by now
    cache.trim();
    const collect = (options: GarbageOptions) => collectUnused(known, images, folders, options);
    const admin = { root, images: store, driver, containers, snapshots, pulled, collect, log: logControl };
    parts.use(await serveUnix(args.adminSocket, createAdminApp(admin), "--admin-socket"));
    if (args.apisock !== undefined) parts.use(await serveUnix(args.apisock, createNydusdApp(offered), "--apisock"));
    const { listen } = settings.metrics;
    if (listen !== undefined) parts.use(serveTcp(listen, createObserverApp(admin)));
    if (snapshots !== undefined && snapshotterSocket !== undefined) {
      parts.use(taken ?? await openEndpoint(snapshotterSocket)).answer(snapshots);
    }
    const server = parts.use(await serveUnix(args.socket, createGraphDriverApp(driver)));
    return new Daemon(parts.move(), server.finished);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.parts.disposeAsync();
  }
}

/** Creates the folders of a daemon, and locks them until `parts` are disposed. */
async function takeRoot(root: string, parts: AsyncDisposableStack): Promise<DaemonFolders> {
  await Deno.mkdir(root, { recursive: true, mode: 0o700 });
  parts.use(await lockFileSoon(`${root}/lock`, `root "${root}"`));
  return await makeFolders(root);
}

/** Serves the layers that an earlier daemon served, or waits for dockerd to name a home. */
async function resumeDriver(
  folders: DaemonFolders,
  images: DaemonImages,
  workers: Pick<LayerStoreParts, "applier" | "differ">,
): Promise<GraphDriver> {
  const openStore = async (home: string, options: StorageOptions, idMaps: IdMaps): Promise<LayerStore> => {
    const limitBytes = options.size === undefined ? 0 : parseSize(options.size, "limit containers");
    await images.configure(home, options);
    return await LayerStore.open(home, {
      ...workers,
      lazyImages: images.store,
      idMaps,
      limitBytes,
      unbornAfterMs: UNBORN_AFTER_MS,
      dockerRecords: dockerRecords(dockerImageDir(home)),
    });
  };
  return await GraphDriver.resume({ stateFile: servedHomePath(folders.state), openStore });
}

/** Logs that programs wait for images of an earlier daemon, if a keeper has them: the home to serve is not known. */
async function reportWaiting(stateDir: string): Promise<void> {
  const records = [keeperPath(stateDir), fanotifyKeeperPath(stateDir), fscacheKeeperPath(stateDir)];
  const keepers = await Promise.all(records.map((record) => Keeper.pidOf(record)));
  if (keepers.every((pid) => pid === undefined)) return;
  log.error("programs that read lazy images wait until dockerd says where its layers are", {
    remedy: HOME_REMEDY,
  });
}

/** Frees cache space. What no layer needs is known only if all layers are. */
async function collectUnused(
  known: KnownLayers,
  { cache, pulled, store }: DaemonImages,
  folders: DaemonFolders,
  options: GarbageOptions,
): Promise<GarbageReport> {
  const layers = known.areAll ? await known.list() : undefined;
  return await collectGarbage({ cache, stateDir: folders.state, pulled, layers, mounted: [], images: store }, options);
}

/** Loads what snapshots need, and opens them. */
async function openSnapshots(root: string, parts: SnapshotStoreParts): Promise<SnapshotStore> {
  const { SnapshotStore } = await import("../lib/snapshot/snapshot_store.ts");
  return await SnapshotStore.open(snapshotterDir(root), parts);
}

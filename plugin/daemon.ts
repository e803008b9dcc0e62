/**
 * The daemon: every room put together behind the graph-driver socket.
 *
 * ```
 * settings, nydusd's configuration
 *        │
 *        ▼
 *  DaemonImages ─► LayerStore ─► graph-driver app ─► unix socket
 *        └─────────────┴───────► admin app ────────► unix socket
 * ```
 * A stop leaves containers running and their layers mounted. A keeper holds what the kernel has of lazy images: reads of
 * what is not in the page cache wait for the next server, which takes over. That holds for a kill as well.
 *
 * @module
 */
import { inheritedDescriptors, notifyReady } from "../ffi/libsystemd.ts";
import { mapLargePieces } from "../ffi/malloc.ts";
import { whenAborted } from "../lib/base/abort.ts";
import { NydusGdError } from "../lib/base/errors.ts";
import { logger } from "../lib/base/log.ts";
import type { Settings } from "../lib/base/settings.ts";
import { trimMemory } from "../lib/base/trim_memory.ts";
import { type ConfigPath, readSettings } from "../lib/image/config_files.ts";
import { collectGarbage, type GarbageOptions } from "../lib/image/gc/collect_garbage.ts";
import { dropImagePages } from "../lib/image/open_image.ts";
import { Applier } from "../lib/layer/applier.ts";
import { Differ } from "../lib/layer/differ.ts";
import { lockFileSoon } from "../lib/layer/home_lock.ts";
import type { IdMaps } from "../lib/layer/id_maps.ts";
import { LayerStore } from "../lib/layer/layer_store.ts";
import { parseSize } from "../lib/layer/storage_options.ts";
import { namedFsDriver } from "../lib/mount/choose.ts";
import { createAdminApp, createObserverApp } from "./admin/app.ts";
import { makeFolders } from "./daemon_folders.ts";
import { DaemonImages } from "./daemon_images.ts";
import { createGraphDriverApp } from "./docker/app.ts";
import { GraphDriver } from "./docker/driver.ts";
import type { StorageOptions } from "./docker/init_options.ts";
import { createNydusdApp } from "./nydusd/app.ts";
import { NydusdConfigInUse } from "./nydusd_config_in_use.ts";
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
    const applier = parts.use(new Applier());
    const differ = parts.use(new Differ());
    const config = await NydusdConfigInUse.read(args.config);
    const images = parts.use(await DaemonImages.open({ folders, settings, config, fsDriver }));
    const { store, offered, cache, pulled } = images;
    const openStore = async (home: string, options: StorageOptions, idMaps: IdMaps): Promise<LayerStore> => {
      const limitBytes = options.size === undefined ? 0 : parseSize(options.size, "limit containers");
      await images.configure(options);
      return await LayerStore.open(home, { lazyImages: store, applier, differ, idMaps, limitBytes });
    };
    const driver = parts.use(await GraphDriver.resume({ stateFile: `${folders.state}/graph-driver.json`, openStore }));
    if (offered.hasPredecessor) await store.resume();
    cache.trim(); // images in use were taken over by now
    const collect = async (options: GarbageOptions) => {
      const layers = driver.ready ? await driver.store.lazyLayers() : undefined;
      return await collectGarbage({ cache, stateDir: folders.state, pulled, layers, images: store }, options);
    };
    const admin = { root: args.root, images: store, driver, pulled, collect, log: logControl };
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

/**
 * The image side of the layer store: mounts bootstrap layers as trees in the kernel.
 *
 * ```
 * acquire ──► map bootstrap ──► choose the blobs' backend ──► ImageMounts.add ──► a folder of the image's tree
 * ```
 * An image is mounted when its layer has arrived, or by its first user. It stays mounted until its layer is removed, so
 * that its next container starts immediately, or until it is idle and the cache needs space. A removed image is still
 * served to those who refer to it; its bootstrap and blobs are released afterwards. {@link LazyImageStore.resume} takes
 * over the images of a killed or stopped process; {@link LazyImageStore.handOver} leaves images in use to the next one.
 *
 * The store decides when an image is mounted and unmounted. The state that this takes is in parts of its own:
 *
 * | part             | what it knows                                                  |
 * | ---------------- | -------------------------------------------------------------- |
 * | `ImageServer`    | the data path, and the session                                 |
 * | `ImageOpener`    | which backend has the blobs of a layer                         |
 * | `LiveImages`     | which images are mounted, and which are not closed yet         |
 * | `LiveImage`      | one of them: its mount, its prefetch, when it is closed        |
 * | `ImageHolders`   | who uses which image                                           |
 * | `IdleImages`     | which images nobody uses, and how they are unmounted           |
 * | `PreparedImages` | which images are to be mounted before their first use          |
 *
 * @module
 */
import { joined, unlessAborted } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { SingleFlight } from "../../base/single_flight.ts";
import { cacheUsage } from "../../blob/cache/cache_usage.ts";
import { isMapped, NO_ID_MAPS } from "../../layer/userns/id_maps.ts";
import type { ImageRoot, LayersLeft, LazyImages, LazyLayer, LazyMount } from "../../layer/lazy/lazy_images.ts";
import type { DataPathChoice } from "../../mount/data_path.ts";
import type { ImageMount } from "../../mount/image_mount.ts";
import type { ImageMounts } from "../../mount/image_mounts.ts";
import { requireMappedOwners, rootOf } from "./open/bootstrap_facts.ts";
import { continueImages } from "./mounted/continued_images.ts";
import { IdleImages } from "./mounted/idle_images.ts";
import { ImageHolders } from "./mounted/image_holders.ts";
import { describeImage } from "./report/image_description.ts";
import type { PrefetchStatus } from "../prefetch/image_prefetch.ts";
import {
  infoRows,
  type LazyImagesReport,
  type MountedImageReport,
  type Trouble,
  troublesOf,
} from "./report/images_report.ts";
import { ImageOpener, type OpenedImage } from "./open/image_opener.ts";
import { ImageServer } from "./mounted/image_server.ts";
import type { LazyImageStoreOptions } from "./lazy_image_options.ts";
import { LiveImages } from "./mounted/live_images.ts";
import { LiveImage } from "./mounted/live_image.ts";
import { PreparedImages } from "./mounted/prepared_images.ts";

const log = logger("image");

/** The lazy images of one server. */
export class LazyImageStore implements LazyImages, AsyncDisposable {
  /** By layer ID. */
  readonly #mounting = new SingleFlight<string, LiveImage>();
  readonly #holders = new ImageHolders();
  readonly #stopping = new AbortController();
  readonly #opener: ImageOpener;
  readonly #images: LiveImages;
  readonly #idle: IdleImages;
  readonly #server: ImageServer;
  readonly #prepared: PreparedImages;

  constructor(private readonly options: LazyImageStoreOptions) {
    this.#opener = new ImageOpener(options);
    const images = new LiveImages(options.record);
    this.#images = images;
    this.#idle = new IdleImages(images, this.#holders, options.numbers, this.#stopping.signal);
    this.#server = new ImageServer(options, (session) => images.lose(session));
    this.#prepared = new PreparedImages({
      kernelImages: options.kernelImages,
      usesKernelImages: () => this.#server.dataPath.fsDriver !== "fuse",
      whenPlaced: (layer, signal) => options.whenPlaced(layer, signal),
      mount: (layer, signal) => this.#mountOnce(layer, signal),
      unusedMs: options.unusedMs,
      unmountUnused: (layerId) => this.#idle.unmountUnused(layerId),
    });
    options.cache.onFull = () => {
      this.#idle.unmount().catch((error) => log.error("images not released", { error: messageOf(error) }));
    };
  }

  /** Returns the session, starting it if necessary. Call after {@link resume}. */
  serving(): Promise<ImageMounts> {
    return this.#server.start();
  }

  /** Whether a session serves images. */
  get hasSession(): boolean {
    return this.#server.session !== undefined;
  }

  /** Sets the data path. No effect while a session uses another one. */
  useDataPath(dataPath: DataPathChoice): void {
    this.#server.useDataPath(dataPath);
  }

  /** @inheritdoc */
  async verify(bootstrapPath: string, idMaps = NO_ID_MAPS): Promise<ImageRoot> {
    if (isMapped(idMaps)) {
      this.options.requireIdmaps(this.#server.dataPath.fsDriver);
      await requireMappedOwners(bootstrapPath, idMaps);
    }
    return rootOf(bootstrapPath);
  }

  /** @inheritdoc */
  prepare(layer: LazyLayer): void {
    if (this.#stopping.signal.aborted) return;
    this.options.onArrived(layer);
    this.#prepared.begin(layer);
  }

  /**
   * Takes over the images of an earlier process, if a keeper has them. Call before the first {@link acquire}.
   *
   * @param left returns the layers that there are, asked for if the record of mounted images is lost
   * @throws {NydusGdError} if the session exists but cannot be taken over; it is left as it is
   */
  async resume(left: () => Promise<LayersLeft>): Promise<void> {
    if (this.#server.session !== undefined) return;
    const { record, findMounted, numbers } = this.options;
    const hasNumber = (layerId: string) => numbers.has(layerId);
    const find = async () => await findMounted(await left());
    for await (const mounted of continueImages(this.#server, record, find, hasNumber, (layer) => this.#open(layer))) {
      this.#images.addContinued(mounted);
      this.#prefetchMounted(mounted);
    }
  }

  /** @inheritdoc */
  async acquire(layer: LazyLayer, holder: string, signal?: AbortSignal): Promise<LazyMount> {
    this.#holders.add(layer.id, holder); // first, or the image may be unmounted as idle
    try {
      const found = this.#images.seen(layer.id) ?? await unlessAborted(this.#mountOnce(layer), signal);
      this.#use(found);
      found.image.recorder?.begin();
      found.image.expect(() => this.options.commandOf(layer, holder));
      log.debug("image in use", { layer: layer.id, holder });
      return lazyMountOf(found);
    } catch (error) {
      this.#holders.remove(layer.id, holder);
      throw error;
    }
  }

  /** @inheritdoc */
  hold(layer: LazyLayer, holder: string): LazyMount | undefined {
    const found = this.#images.seen(layer.id);
    if (found === undefined) return undefined;
    this.#holders.add(layer.id, holder);
    this.#use(found);
    return lazyMountOf(found);
  }

  /** Images stay mounted without holders; see the module comment. */
  release(layerId: string, holder: string): Promise<void> {
    if (this.#holders.remove(layerId, holder)) this.options.cache.trim();
    return Promise.resolve();
  }

  /** @inheritdoc */
  async forget(layerId: string, layer?: LazyLayer): Promise<void> {
    await this.#prepared.cancel(layerId);
    await this.#images.runExclusive(layerId, async () => {
      await this.#images.unmount(layerId);
      await this.#opener.forget(layerId);
      await this.options.kernelImages.forget(layerId);
      if (layer !== undefined) await this.options.onForgotten(layer);
    });
  }

  /** @inheritdoc */
  describe(layer: LazyLayer): Promise<Record<string, string>> {
    const mounted = this.#images.get(layer.id);
    return Promise.resolve(describeImage(layer, mounted && this.#reportOf(mounted)));
  }

  /** @inheritdoc */
  async status(): Promise<[string, string][]> {
    const report = await this.report();
    return infoRows(report, this.troubles(report));
  }

  /** Returns a snapshot of all images. */
  async report(): Promise<LazyImagesReport> {
    const { cache } = this.options;
    const { dir } = cache.stats();
    const usage = await cacheUsage(dir).catch((error) => ({ dir, failure: messageOf(error) }));
    const images = this.#images.all().map((mounted) => this.#reportOf(mounted));
    return { ...this.#server.report(), blobs: cache.stats(), cache: usage, images };
  }

  #reportOf(mounted: LiveImage): MountedImageReport {
    return mounted.report(this.#holders.of(mounted.layer.id));
  }

  /** Returns the problems in a {@link report}. */
  troubles(report: LazyImagesReport): Trouble[] {
    return troublesOf(report, this.options.minFree);
  }

  /**
   * Starts fetching all of a mounted image, unless a prefetch is running.
   *
   * @throws {NydusGdError} "not-found" if the image of that layer is not mounted
   */
  prefetch(layerId: string): PrefetchStatus {
    const mounted = this.#images.get(layerId);
    if (mounted === undefined || mounted.isClosing) {
      throw new NydusGdError("not-found", `Cannot prefetch image of layer ${JSON.stringify(layerId)}: not mounted`, {
        hint: "nydus-gd status -o json lists the layers of mounted images",
      });
    }
    this.#use(mounted);
    return mounted.prefetch("all", this.options.cache, this.options.minFree);
  }

  /** Mounts the image of `layer` if necessary, and starts fetching all of it. @throws as {@link acquire} */
  async fetchAll(layer: LazyLayer, signal: AbortSignal): Promise<PrefetchStatus> {
    if (this.#images.seen(layer.id) === undefined) await unlessAborted(this.#mountOnce(layer), signal);
    return this.prefetch(layer.id);
  }

  /**
   * Unmounts idle images, so that their blobs can be evicted. They are mounted again on demand. Resolves once they are
   * released, or after a timeout.
   */
  async unmountIdle(): Promise<void> {
    await this.#idle.release();
  }

  /** Returns the names of cached blobs that {@link unmountIdle} would release. */
  idleBlobs(): Set<string> {
    return this.#idle.blobs();
  }

  /** Calls `ImageMounts.emptyKernelCache`. */
  async emptyKernelCache(): Promise<number | undefined> {
    return await this.#server.session?.emptyKernelCache();
  }

  /**
   * Orderly stop: leaves mounts and session to the next server, which continues with {@link resume}, and releases all
   * else. Readers wait in the meantime. If no image is in use and none is offered, unmounts everything instead.
   */
  async handOver(): Promise<void> {
    await this.#stop();
    const { session } = this.#server;
    if (session === undefined || (this.#holders.size === 0 && session.offers === 0)) {
      return await this[Symbol.asyncDispose]();
    }
    this.options.cache.leave();
    log.info("images in use are left to the next server", { images: this.#images.all().length });
    await this.#images.leave();
    await this.#server.leave();
    await this.#images.closed();
  }

  async #stop(): Promise<void> {
    this.#stopping.abort(new NydusGdError("interrupted", "Cannot mount image: the server stops"));
    await Promise.all([this.#mounting.settled(), this.#idle.settled(), this.#prepared.stop()]);
  }

  /** Stops work in progress, then unmounts all images and ends the session. Nothing can be mounted afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    await this.#images.unmountAll();
    await this.#server[Symbol.asyncDispose]();
    await this.#images.closed(); // the session took every reference with it
  }

  /** Concurrent callers share one attempt, which the signal of the first one aborts. */
  #mountOnce(layer: LazyLayer, signal = this.#stopping.signal): Promise<LiveImage> {
    const mount = async () => this.#images.seen(layer.id) ?? await this.#mount(layer, signal);
    return this.#mounting.run(layer.id, async () => {
      this.#stopping.signal.throwIfAborted();
      // the session starts while the image is still being prepared
      return (await Promise.all([this.#images.runExclusive(layer.id, mount), this.#server.start()]))[0];
    });
  }

  async #mount(layer: LazyLayer, signal: AbortSignal): Promise<LiveImage> {
    const startedAt = performance.now();
    if (this.#images.get(layer.id) !== undefined) {
      await this.#images.unmount(layer.id);
      await this.options.numbers.forget(layer.id); // remaining references must not see the next mount's tree
    }
    this.#stopping.signal.throwIfAborted();
    const opened = await this.#open(layer, signal);
    let session: ImageMounts;
    let mount: ImageMount;
    try {
      session = await this.#server.start();
      await this.#prepared.kernelImageMade(layer.id);
      mount = await session.add(opened.image, opened.number);
    } catch (error) {
      await opened.image[Symbol.asyncDispose]();
      throw error;
    }
    const mounted = new LiveImage(opened, session, mount); // from now on it closes the image
    await this.#images.add(mounted);
    if (this.#server.session !== session) this.#images.lose(session); // it has ended in the meantime
    this.#prefetchMounted(mounted);
    log.info("image mounted", {
      layer: layer.id,
      fsDriver: mount.fsDriver,
      home: opened.backend.description,
      durationMs: Math.round(performance.now() - startedAt),
    });
    return mounted;
  }

  /** A container is going to read the image. */
  #use(mounted: LiveImage): void {
    if (mounted.use()) this.options.cache.expectReaders();
  }

  /** Starts the prefetch of a mounted image. Until it is used, this ends with what starts it. */
  #prefetchMounted(mounted: LiveImage): void {
    const { cache, prefetch, minFree } = this.options;
    mounted.image.openAhead();
    const scope = prefetch();
    if (scope !== undefined) mounted.prefetch(scope, cache, minFree);
  }

  #open(layer: LazyLayer, until?: AbortSignal): Promise<OpenedImage> {
    return this.#opener.open(layer, joined(this.#stopping.signal, until));
  }
}

function lazyMountOf({ mount, past }: LiveImage): LazyMount {
  return { path: mount.path, fsDriver: mount.fsDriver, ...past };
}

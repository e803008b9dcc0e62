/**
 * The image side of the layer store: mounts bootstrap layers as trees in the kernel.
 *
 * ```
 * acquire ──► map bootstrap ──► choose the blobs' backend ──► ImageMounts.add ──► a folder of the image's tree
 * ```
 * An image stays mounted from its first use until its layer is removed, so that its next container starts immediately,
 * or until it is idle and the cache needs space. A removed image is still served to those who refer to it; its
 * bootstrap and blobs are released afterwards. image_server.ts owns the session. {@link LazyImageStore.resume} takes
 * over the images of a killed or stopped process; {@link LazyImageStore.handOver} leaves images in use to the next one.
 *
 * @module
 */
import { unlessAborted } from "../../base/abort.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { logger } from "../../base/log.ts";
import { SingleFlight } from "../../base/single_flight.ts";
import { cacheUsage } from "../../blob/cache/cache_usage.ts";
import type { ImageRoot, LazyImages, LazyLayer, LazyMount } from "../../layer/lazy_images.ts";
import type { DataPathChoice } from "../../mount/choose.ts";
import type { ImageMount } from "../../mount/image_mount.ts";
import type { ImageMounts } from "../../mount/image_mounts.ts";
import { requiredBlobIds } from "../../rafs/flags.ts";
import { chooseBackend } from "../choose_backend.ts";
import { rootOf } from "../bootstrap_facts.ts";
import { closedSoon, idleBlobs, idleImages } from "./idle_images.ts";
import { ImageHolders } from "./image_holders.ts";
import { describeImage } from "./image_description.ts";
import { type ImagePrefetch, type ImagePrefetchOptions, type PrefetchStatus, startPrefetch } from "./image_prefetch.ts";
import { infoRows, type LazyImagesReport, type MountedImageReport, type Trouble, troublesOf } from "./images_report.ts";
import { checkInodeDigests } from "../inode_digests.ts";
import { ImageServer } from "./image_server.ts";
import type { LazyImageStoreOptions } from "./lazy_image_options.ts";
import type { RecordedLayer } from "./mounted_images.ts";
import { type Mounted, type OpenedImage, reportOf } from "./mounted_image.ts";
import { MappedBootstrap, OpenImage } from "../open_image.ts";
import { PreparedImages } from "./prepared_images.ts";

const log = logger("image");

/** The lazy images of one server. */
export class LazyImageStore implements LazyImages, AsyncDisposable {
  /** By layer ID, like all maps here. */
  readonly #mounted = new Map<string, Mounted>();
  readonly #mounting = new SingleFlight<string, Mounted>();
  /** Serializes mounting and forgetting a layer. */
  readonly #changing = new KeyedMutex<string>();
  readonly #unmountingIdle = new SingleFlight<"idle", readonly Mounted[]>();
  readonly #holders = new ImageHolders();
  /** Resolves when the image is released: one per image that is mounted, or unmounted but still in use. */
  readonly #open = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #server: ImageServer;
  readonly #prepared: PreparedImages;

  constructor(private readonly options: LazyImageStoreOptions) {
    this.#server = new ImageServer(options, (session) => this.#lose(session));
    this.#prepared = new PreparedImages(options.kernelImages, (id, task) => this.#changing.run(id, task));
    options.cache.onFull = () => {
      this.#unmountIdle().catch((error) => log.error("images not released", { error: messageOf(error) }));
    };
  }

  /** Returns the session, starting it if necessary. Call after {@link resume}. */
  serving(): Promise<ImageMounts> {
    return this.#server.start();
  }

  /** Sets the data path. No effect while a session uses another one. */
  useDataPath(dataPath: DataPathChoice): void {
    this.#server.useDataPath(dataPath);
  }

  /** @inheritdoc */
  verify(bootstrapPath: string): Promise<ImageRoot> {
    return new Promise((resolve) => resolve(rootOf(bootstrapPath)));
  }

  /** @inheritdoc */
  prepare(layer: LazyLayer): void {
    if (this.#server.dataPath.fsDriver !== "fuse" && !this.#stopping.signal.aborted) this.#prepared.begin(layer);
  }

  /**
   * Takes over the images of an earlier process, if a keeper has them. Call before the first {@link acquire}.
   *
   * @throws {NydusGdError} if the session exists but cannot be taken over; it is left as it is
   */
  async resume(): Promise<void> {
    if (this.#server.session !== undefined) return;
    const { record } = this.options;
    const opened: (OpenedImage & Pick<RecordedLayer, "fsDriver" | "isSuspect">)[] = [];
    const open = async () => {
      const again = await Promise.all(record.list().map((layer) => this.#reopen(layer)));
      opened.push(...again.filter((one) => one !== undefined));
      return opened;
    };
    const taken = await this.#server.takeOver(open);
    if (taken === undefined) return await record.clear();
    const { session, mounts } = taken;
    for (const [index, { layer, image, backend, isSuspect: wasSuspect }] of opened.entries()) {
      const mount = mounts[index];
      if (mount === undefined) {
        await image[Symbol.asyncDispose]();
        await record.remove(layer.id);
        continue;
      }
      const isSuspect = wasSuspect || mount.isSuspect === true;
      if (isSuspect) await record.add(layer, mount.fsDriver, isSuspect);
      const about = { layer, session, image, mount, backend, isSuspect };
      const mounted = this.#register({ ...about, continued: true });
      this.#prefetchMounted(mounted);
    }
  }

  /**
   * Opens an image of an earlier process. Logs a failure and returns undefined: the image's readers then get errors.
   */
  async #reopen({ fsDriver, isSuspect, ...layer }: RecordedLayer) {
    try {
      return { ...await this.#prepare(layer), fsDriver, isSuspect };
    } catch (error) {
      log.error("image of an earlier process is lost", { layer: layer.id, error: messageOf(error) });
      return undefined;
    }
  }

  /** @inheritdoc */
  async acquire(layer: LazyLayer, holder: string, signal?: AbortSignal): Promise<LazyMount> {
    this.#holders.add(layer.id, holder); // first, or the image may be unmounted as idle
    try {
      const found = this.#seen(layer.id) ?? await unlessAborted(this.#mountOnce(layer), signal);
      const { mount, image, continued, isSuspect } = found;
      image.recorder?.begin();
      image.expect(() => this.options.commandOf?.(layer, holder));
      log.debug("image in use", { layer: layer.id, holder });
      return { path: mount.path, fsDriver: mount.fsDriver, continued, isSuspect };
    } catch (error) {
      this.#holders.remove(layer.id, holder);
      throw error;
    }
  }

  /** Images stay mounted without holders; see the module comment. */
  release(layerId: string, holder: string): Promise<void> {
    if (this.#holders.remove(layerId, holder)) this.options.cache.trim();
    return Promise.resolve();
  }

  /** @inheritdoc */
  forget(layerId: string, layer?: LazyLayer): Promise<void> {
    return this.#changing.run(layerId, async () => {
      await this.#unmount(layerId);
      await this.options.numbers.forget(layerId);
      await ignore(Deno.errors.NotFound, Deno.remove(this.#choicePath(layerId)));
      await this.#prepared.forget(layerId);
      if (layer !== undefined) await this.options.onForgotten?.(layer);
    });
  }

  /** @inheritdoc */
  describe(layer: LazyLayer): Promise<Record<string, string>> {
    const mounted = this.#mounted.get(layer.id);
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
    const { session, dataPath, lostImages } = this.#server;
    return {
      dataPath,
      session: session !== undefined ? "serving" : lostImages > 0 ? "ended" : "none",
      lostImages,
      fuse: session === undefined ? undefined : { ...session.counters(), waitingReads: session.waitingReads },
      blobs: cache.stats(),
      cache: usage,
      images: [...this.#mounted.values()].map((mounted) => this.#reportOf(mounted)),
    };
  }

  #reportOf(mounted: Mounted): MountedImageReport {
    return reportOf(mounted, this.#holders.of(mounted.layer.id));
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
    const mounted = this.#mounted.get(layerId);
    if (mounted === undefined || mounted.closing) {
      throw new NydusGdError("not-found", `Cannot prefetch image of layer ${JSON.stringify(layerId)}: not mounted`, {
        hint: "nydus-gd status -o json lists the layers of mounted images",
      });
    }
    const { prefetch } = mounted;
    return (prefetch?.status.state === "running" ? prefetch : this.#prefetch(mounted, "all")).status;
  }

  /** Mounts the image of `layer` if necessary, and starts fetching all of it. @throws as {@link acquire} */
  async fetchAll(layer: LazyLayer, signal?: AbortSignal): Promise<PrefetchStatus> {
    if (this.#seen(layer.id) === undefined) await unlessAborted(this.#mountOnce(layer), signal);
    return this.prefetch(layer.id);
  }

  /**
   * Unmounts idle images, so that their blobs can be evicted. They are mounted again on demand. Resolves once they are
   * released, or after a timeout.
   */
  async unmountIdle(): Promise<void> {
    await closedSoon(await this.#unmountIdle());
  }

  #unmountIdle(): Promise<readonly Mounted[]> {
    return this.#unmountingIdle.run("idle", async () => {
      const idle = idleImages(this.#mounted.values(), this.#holders);
      await Promise.all(idle.map(({ layer: { id } }) =>
        this.#changing.run(id, async () => {
          if (this.#stopping.signal.aborted || this.#holders.isHeld(id)) return;
          await this.#unmount(id);
          await this.options.numbers.forget(id); // remaining references must not see the next mount's tree
        })
      ));
      return idle;
    });
  }

  /** Returns the names of cached blobs that {@link unmountIdle} would release. */
  idleBlobs(): Set<string> {
    return idleBlobs([...this.#mounted.values()], this.#holders);
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
    const mounted = [...this.#mounted.values()];
    this.#mounted.clear();
    this.options.cache.leave();
    log.info("images in use are left to the next server", { images: mounted.length });
    await Promise.all(mounted.map(({ prefetch }) => prefetch?.stop()));
    await this.#server.leave();
    await Promise.all(this.#open);
  }

  async #stop(): Promise<void> {
    this.#stopping.abort(new NydusGdError("interrupted", "Cannot mount image: the server stops"));
    await Promise.all([this.#mounting.settled(), this.#unmountingIdle.settled(), this.#prepared.stop()]);
  }

  /** Stops work in progress, then unmounts all images and ends the session. Nothing can be mounted afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    for (const layerId of [...this.#mounted.keys()]) await this.#changing.run(layerId, () => this.#unmount(layerId));
    await this.#server[Symbol.asyncDispose]();
    await Promise.all(this.#open); // the session took every reference with it
  }

  /** Concurrent callers share one attempt. */
  #mountOnce(layer: LazyLayer): Promise<Mounted> {
    const mount = async () => this.#seen(layer.id) ?? await this.#mount(layer);
    return this.#mounting.run(layer.id, async () => {
      this.#stopping.signal.throwIfAborted();
      // the session starts while the image is still being prepared
      return (await Promise.all([this.#changing.run(layer.id, mount), this.#server.start()]))[0];
    });
  }

  /** Returns the image if its mount is visible: an overlay on an empty folder would show an empty image. */
  #seen(layerId: string): Mounted | undefined {
    const mounted = this.#mounted.get(layerId);
    if (mounted === undefined || mounted.mount.isSeen()) return mounted;
    log.warn("mount of image is gone", { layer: layerId, path: mounted.mount.path });
    return undefined;
  }

  async #mount(layer: LazyLayer): Promise<Mounted> {
    const startedAt = performance.now();
    await this.#unmount(layer.id);
    this.#stopping.signal.throwIfAborted();
    const session = await this.#server.start();
    const { image, backend, number } = await this.#prepare(layer);
    let mount: ImageMount;
    try {
      mount = await session.add(image, number);
      await this.options.record.add(layer, mount.fsDriver);
    } catch (error) {
      await image[Symbol.asyncDispose]();
      throw error;
    }
    const mounted = this.#register({ layer, session, image, mount, backend, isSuspect: false, continued: false });
    if (this.#server.session !== session) this.#mounted.delete(layer.id); // the session has ended in the meantime
    this.#prefetchMounted(mounted);
    log.info("image mounted", {
      layer: layer.id,
      fsDriver: mount.fsDriver,
      home: backend.description,
      durationMs: Math.round(performance.now() - startedAt),
    });
    return mounted;
  }

  #register(about: Omit<Mounted, "prefetch" | "closing" | "closed">): Mounted {
    const mounted: Mounted = { ...about, prefetch: undefined, closing: false, closed: Promise.resolve() };
    mounted.closed = this.#closeWhenReleased(mounted.layer.id, mounted);
    this.#mounted.set(mounted.layer.id, mounted);
    return mounted;
  }

  /** Starts the prefetch of a mounted image, whose readers are about to come. */
  #prefetchMounted(mounted: Mounted): void {
    this.options.cache.expectReaders();
    mounted.image.openAhead();
    const scope = this.options.prefetch?.();
    if (scope !== undefined) this.#prefetch(mounted, scope);
  }

  #prefetch(mounted: Mounted, scope: ImagePrefetchOptions["scope"]): ImagePrefetch {
    return mounted.prefetch = startPrefetch(mounted.image, this.options.cache, scope, this.options.minFree);
  }

  /** Opens the bootstrap and chooses the backend of its blobs. */
  async #prepare(layer: LazyLayer): Promise<OpenedImage> {
    const { cache, numbers, candidates, deadlineMs, validate } = this.options;
    const { signal } = this.#stopping;
    using cleanup = new DisposableStack();
    const bootstrap = cleanup.use(MappedBootstrap.open(layer.bootstrapPath));
    if (validate?.()) await checkInodeDigests(bootstrap.tree);
    const blobs = bootstrap.tree.blobs.flatMap(requiredBlobIds).map((id) => ({ id }));
    const backend = await chooseBackend(await candidates(layer), blobs, this.#choicePath(layer.id), deadlineMs, signal);
    const number = await numbers.of(layer.id);
    signal.throwIfAborted();
    cleanup.move();
    const recorder = this.options.recorder?.(layer.bootstrapPath);
    const image = OpenImage.open({ name: layer.id, bootstrap, backend, cache, recorder });
    return { layer, image, backend, number };
  }

  /** Drops the images of a session that ended unexpectedly, so that they are mounted again. */
  #lose(session: ImageMounts): number {
    const lost = [...this.#mounted].filter(([, mounted]) => mounted.session === session);
    for (const [layerId] of lost) this.#mounted.delete(layerId);
    return lost.length;
  }

  async #unmount(layerId: string): Promise<void> {
    const mounted = this.#mounted.get(layerId);
    if (mounted === undefined) return;
    this.#mounted.delete(layerId);
    await mounted.prefetch?.stop();
    await mounted.mount[Symbol.asyncDispose]();
    await this.options.record.remove(layerId);
  }

  /** Overlays and open files may use the image long after its unmount. */
  #closeWhenReleased(layerId: string, mounted: Mounted): Promise<void> {
    const close = async () => {
      mounted.closing = true;
      await mounted.prefetch?.stop(); // it uses the tree
      await mounted.image[Symbol.asyncDispose]();
    };
    const closed: Promise<void> = mounted.mount.released
      .then(close)
      .catch((error) => log.error("image not closed", { layer: layerId, error: messageOf(error) }))
      .finally(() => this.#open.delete(closed));
    this.#open.add(closed);
    return closed;
  }

  #choicePath(layerId: string): string {
    if (layerId.includes("/")) throw new NydusGdError("internal", `Cannot use layer id ${layerId}: it is a path`);
    return `${this.options.stateDir}/${layerId}.json`;
  }
}

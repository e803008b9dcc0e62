/**
 * The image side of the layer store: bootstrap layers become trees in the kernel.
 *
 * ```
 * acquire ──► map bootstrap ──► choose the blobs' home ──► FuseSession.add ──► <mountpoint>/<layer id>
 * ```
 * An image stays mounted from its first use until its layer is removed, so that the next container of it starts at
 * once. The session is started with the first image: a host without FUSE serves ordinary layers all the same.
 *
 * @module
 */
import { S } from "../../ffi/sys_stat.ts";
import type { Backend } from "../backend/blob_source.ts";
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { SingleFlight } from "../base/single_flight.ts";
import type { BlobCache } from "../blob/blob_cache.ts";
import type { ImageRoot, LazyImages, LazyLayer, LazyMount } from "../layer/lazy_images.ts";
import type { FuseImageMount, FuseSession } from "../mount/fuse/session.ts";
import { openBootstrap } from "../rafs/open.ts";
import { type Candidate, chooseHome } from "./blob_home.ts";
import type { ImageNumbers } from "./image_numbers.ts";
import { mapBootstrap, OpenImage } from "./open_image.ts";

const log = logger("image");

/** What a {@link LazyImageStore} works with. */
export interface LazyImageStoreOptions {
  /** Folder for the choices of homes; exists. */
  readonly stateDir: string;
  readonly cache: BlobCache;
  readonly numbers: ImageNumbers;
  /** Starts the session that serves every image. Called at most once while it succeeds. */
  readonly startSession: () => Promise<FuseSession>;
  /** Homes that may have the blobs of a layer, in order of preference. */
  readonly candidates: (layer: LazyLayer) => Promise<readonly Candidate[]>;
}

interface Mounted {
  readonly image: OpenImage;
  readonly mount: FuseImageMount;
  readonly backend: Backend;
}

/** See the module. */
export class LazyImageStore implements LazyImages, AsyncDisposable {
  readonly #mounted = new Map<string, Mounted>();
  readonly #mounting = new SingleFlight<string, Mounted>();
  readonly #starting = new SingleFlight<"session", FuseSession>();
  /** Unmounted images that overlays or open files still use. */
  readonly #leaving = new Set<Promise<void>>();
  #session: FuseSession | undefined;

  constructor(private readonly options: LazyImageStoreOptions) {}

  /** @inheritdoc */
  verify(bootstrapPath: string): Promise<ImageRoot> {
    using mapping = mapBootstrap(bootstrapPath);
    const tree = openBootstrap(mapping.bytes);
    const root = { ino: 0, mode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, mtime: 0, mtimeNsec: 0 };
    tree.attr(tree.rootIno, root);
    return Promise.resolve({ mode: root.mode & ~S.IFMT, uid: root.uid, gid: root.gid });
  }

  /** @inheritdoc */
  async acquire(layer: LazyLayer, holder: string, signal?: AbortSignal): Promise<LazyMount> {
    const mounted = this.#mounted.get(layer.id) ??
      await this.#mounting.run(layer.id, () => this.#mount(layer));
    signal?.throwIfAborted();
    log.debug("image in use", { layer: layer.id, holder });
    return { path: mounted.mount.path, fsDriver: mounted.mount.fsDriver };
  }

  /** An image outlives its holders: see the module. */
  release(_layerId: string, _holder: string): Promise<void> {
    return Promise.resolve();
  }

  /** @inheritdoc */
  async forget(layerId: string): Promise<void> {
    await this.#unmount(layerId);
    await this.options.numbers.forget(layerId);
    await ignore(Deno.errors.NotFound, Deno.remove(this.#choicePath(layerId)));
  }

  /** @inheritdoc */
  describe(layer: LazyLayer): Promise<Record<string, string>> {
    const mounted = this.#mounted.get(layer.id);
    const about = { kind: "lazy", bootstrap: layer.bootstrapPath };
    if (mounted === undefined) return Promise.resolve(about);
    const blobs = mounted.image.tree.blobs.map((blob, index) => {
      const fetched = mounted.image.blobs[index]?.stats().bytesFetched ?? 0;
      return `${blob.id} ${blob.compressedSize} bytes, ${fetched} fetched`;
    });
    return Promise.resolve({
      ...about,
      fs_driver: mounted.mount.fsDriver,
      home: mounted.backend.description,
      blobs: blobs.join("; "),
    });
  }

  /** @inheritdoc */
  status(): Promise<[string, string][]> {
    return Promise.resolve([
      ["Data Path", this.#session === undefined ? "fuse (no lazy image mounted yet)" : "fuse"],
      ["Lazy Images Mounted", String(this.#mounted.size)],
    ]);
  }

  /** Unmounts every image, then the session. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const layerId of [...this.#mounted.keys()]) await this.#unmount(layerId);
    await this.#session?.[Symbol.asyncDispose]();
    this.#session = undefined;
    await Promise.all(this.#leaving);
  }

  async #mount(layer: LazyLayer): Promise<Mounted> {
    const startedAt = performance.now();
    const session = await this.#startSession();
    const backend = await this.#chooseBackend(layer);
    const image = OpenImage.open({
      name: layer.id,
      bootstrapPath: layer.bootstrapPath,
      backend,
      cache: this.options.cache,
    });
    try {
      const mount = await session.add(image, await this.options.numbers.of(layer.id));
      const mounted = { image, mount, backend };
      this.#mounted.set(layer.id, mounted);
      log.info("image mounted", {
        layer: layer.id,
        fsDriver: mount.fsDriver,
        home: backend.description,
        durationMs: Math.round(performance.now() - startedAt),
      });
      return mounted;
    } catch (error) {
      await image[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #chooseBackend(layer: LazyLayer): Promise<Backend> {
    using mapping = mapBootstrap(layer.bootstrapPath);
    const { blobs } = openBootstrap(mapping.bytes);
    return await chooseHome(await this.options.candidates(layer), blobs, this.#choicePath(layer.id));
  }

  #startSession(): Promise<FuseSession> {
    if (this.#session !== undefined) return Promise.resolve(this.#session);
    return this.#starting.run("session", async () => this.#session = await this.options.startSession());
  }

  async #unmount(layerId: string): Promise<void> {
    const mounted = this.#mounted.get(layerId);
    if (mounted === undefined) return;
    this.#mounted.delete(layerId);
    await mounted.mount[Symbol.asyncDispose]();
    const leaving: Promise<void> = mounted.mount.released
      .then(() => mounted.image[Symbol.asyncDispose]())
      .catch((error) => log.error("image not closed", { layer: layerId, error: messageOf(error) }))
      .finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  #choicePath(layerId: string): string {
    if (layerId.includes("/")) throw new NydusGdError("internal", `Cannot use layer id ${layerId}: it is a path`);
    return `${this.options.stateDir}/${layerId}.json`;
  }
}

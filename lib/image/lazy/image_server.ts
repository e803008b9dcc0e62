/**
 * Who serves lazy images: which data path they take, and the `ImageMounts` of this moment.
 *
 * It is started with the first image: a host without FUSE serves ordinary layers all the same. One that ended by itself
 * (somebody unmounted it) is started anew with the next image. One that another process left behind, killed or stopped,
 * is taken over with its images; so is ours, when it is left.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { SingleFlight } from "../../base/single_flight.ts";
import type { DataPathChoice } from "../../mount/choose.ts";
import type { ImageMounts, MountedBefore } from "../../mount/image_mounts.ts";
import type { LazyImageStoreOptions } from "./lazy_image_options.ts";

const log = logger("image");

/** See the module. */
export class ImageServer implements AsyncDisposable {
  readonly #starting = new SingleFlight<"session", ImageMounts>();
  #session: ImageMounts | undefined;
  #dataPath: DataPathChoice;
  /** Images of sessions that ended by themselves. */
  #lostImages = 0;

  /** @param onEnded told of a session that ended by itself; how many images went with it */
  constructor(
    private readonly options: Pick<LazyImageStoreOptions, "dataPath" | "startMounts" | "takeOverMounts">,
    private readonly onEnded: (session: ImageMounts) => number,
  ) {
    this.#dataPath = options.dataPath;
  }

  /** What serves now. */
  get session(): ImageMounts | undefined {
    return this.#session;
  }

  get dataPath(): DataPathChoice {
    return this.#dataPath;
  }

  /** Images that went with sessions that ended by themselves, since the start. */
  get lostImages(): number {
    return this.#lostImages;
  }

  /** Takes another data path, for what is not served yet. */
  useDataPath(dataPath: DataPathChoice): void {
    if (this.#session !== undefined && dataPath.fsDriver !== this.#dataPath.fsDriver) {
      log.warn("images are mounted, the data path changes with the next start", { wanted: dataPath.fsDriver });
      return;
    }
    this.#dataPath = dataPath;
  }

  /** What serves, started if need be. */
  start(): Promise<ImageMounts> {
    if (this.#session !== undefined) return Promise.resolve(this.#session);
    return this.#starting.run("session", async () => {
      const session = await this.options.startMounts(this.#dataPath);
      this.#adopt(session);
      return session;
    });
  }

  /** `ImageMounts.takeOver` of what an earlier process left. */
  async takeOver(images: () => Promise<readonly MountedBefore[]>): ReturnType<typeof ImageMounts.takeOver> {
    const taken = await this.options.takeOverMounts(this.#dataPath, images);
    if (taken !== undefined) this.#adopt(taken.session);
    return taken;
  }

  /** Leaves what serves to the next server. */
  async leave(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.leave();
  }

  /** Ends what serves, and every reference to its images with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.[Symbol.asyncDispose]();
    this.#session = undefined;
  }

  #adopt(session: ImageMounts): void {
    this.#session = session;
    session.ended.then(
      () => this.#onEnded(session),
      (error) => log.error("session not closed", { mountpoint: session.mountpoint, error: messageOf(error) }),
    );
  }

  /** The mount is gone, by us or by somebody else: its images are to be mounted anew. */
  #onEnded(session: ImageMounts): void {
    if (this.#session === session) this.#session = undefined;
    const images = this.onEnded(session);
    if (images === 0) return;
    this.#lostImages += images;
    log.warn("mount of lazy images is gone, containers that use them get errors", {
      mountpoint: session.mountpoint,
      images,
    });
  }
}

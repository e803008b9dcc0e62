/**
 * Owns the data path and the current `ImageMounts` session that serves lazy images.
 *
 * The session starts with the first image, so a host without FUSE still serves ordinary layers. If it ends unexpectedly
 * (for example by an unmount), the next image starts a new one. A session left behind by a killed or stopped process is
 * taken over with its images, as is the one of this process after {@link ImageServer.leave}.
 *
 * @module
 */
import { messageOf } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import { SingleFlight } from "../../../base/single_flight.ts";
import type { DataPathChoice } from "../../../mount/data_path.ts";
import type { ImageMounts, MountedBefore } from "../../../mount/image_mounts.ts";
import type { LazyImagesReport } from "../report/images_report.ts";

const log = logger("image");

/** Options of {@link ImageServer}. */
export interface ImageServerOptions {
  /** The initial data path, until {@link ImageServer.useDataPath}. */
  readonly dataPath: DataPathChoice;
  /** Starts the session that serves all images. Not called again while the session lives. */
  readonly startMounts: (dataPath: DataPathChoice) => Promise<ImageMounts>;
  /**
   * Takes over the session of an earlier process by `ImageMounts.takeOver`, or cleans up after it if no keeper has it.
   */
  readonly takeOverMounts: (
    dataPath: DataPathChoice,
    images: () => Promise<readonly MountedBefore[]>,
  ) => ReturnType<typeof ImageMounts.takeOver>;
}

/** The server of lazy images. */
export class ImageServer implements AsyncDisposable {
  readonly #starting = new SingleFlight<"session", ImageMounts>();
  #session: ImageMounts | undefined;
  #dataPath: DataPathChoice;
  /** Number of images lost with sessions that ended unexpectedly, since the start. */
  #lostImages = 0;

  /** @param onEnded called when a session ends unexpectedly; returns how many images were lost with it */
  constructor(
    private readonly options: ImageServerOptions,
    private readonly onEnded: (session: ImageMounts) => number,
  ) {
    this.#dataPath = options.dataPath;
  }

  /** The current session. */
  get session(): ImageMounts | undefined {
    return this.#session;
  }

  get dataPath(): DataPathChoice {
    return this.#dataPath;
  }

  /** Returns the part of the report that concerns the session. */
  report(): Pick<LazyImagesReport, "dataPath" | "session" | "lostImages" | "fuse"> {
    const session = this.#session;
    const lostImages = this.#lostImages;
    return {
      dataPath: this.#dataPath,
      session: session !== undefined ? "serving" : lostImages > 0 ? "ended" : "none",
      lostImages,
      fuse: session === undefined ? undefined : { ...session.counters(), waitingReads: session.waitingReads },
    };
  }

  /** Sets the data path. No effect while a session uses another one. */
  useDataPath(dataPath: DataPathChoice): void {
    if (this.#session !== undefined && dataPath.fsDriver !== this.#dataPath.fsDriver) {
      log.warn("images are mounted, the data path changes at the next start", { wanted: dataPath.fsDriver });
      return;
    }
    this.#dataPath = dataPath;
  }

  /** Returns the session, starting it if necessary. */
  start(): Promise<ImageMounts> {
    if (this.#session !== undefined) return Promise.resolve(this.#session);
    return this.#starting.run("session", async () => {
      const session = await this.options.startMounts(this.#dataPath);
      this.#adopt(session);
      return session;
    });
  }

  /** Takes over the session of an earlier process by `ImageMounts.takeOver`. */
  async takeOver(images: () => Promise<readonly MountedBefore[]>): ReturnType<typeof ImageMounts.takeOver> {
    const taken = await this.options.takeOverMounts(this.#dataPath, images);
    if (taken !== undefined) this.#adopt(taken.session);
    return taken;
  }

  /** Leaves the session to the next server. */
  async leave(): Promise<void> {
    await this.#starting.settled();
    const session = this.#session;
    this.#session = undefined;
    await session?.leave();
  }

  /** Ends the session, and with it every reference to its images. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#starting.settled();
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

  /** The mount is gone, whoever unmounted it. Its images have to be mounted again. */
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

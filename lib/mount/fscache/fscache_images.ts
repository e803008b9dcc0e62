/**
 * Images as EROFS on the kernel's own cache, fscache, which we fill: the kernel reads cached data by itself and asks us
 * for the rest.
 *
 * ```
 *  processes ─► EROFS ── names, attributes, page cache ── all in the kernel
 *                 │ blocks that are not in memory
 *                 ▼
 *  <cache>/fscache/ ── a hole ─► READ ─► CacheServer ─► chunks of <cache>/<blob>.blob.data
 * ```
 * The kernel keeps a copy of what it was given in files of its own, across unmounts and reboots. Images of one domain
 * share the devices of a blob.
 *
 * Fail-closed: data that cannot be fetched are EIO. A keeper holds the device as well (../keeper): a successor has the
 * kernel resend unanswered requests. When all holders have died, mounts are dead for good, and the next mount uses
 * another domain.
 *
 * @module
 */
import { restore } from "../../../ffi/cachefiles.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { mountAt } from "../../../ffi/mountinfo.ts";
import { statfs } from "../../../ffi/sys_statfs.ts";
import { hasCode, ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { SizeLimit } from "../../base/setting_values.ts";
import { kernelCacheDir } from "../../blob/cache/blob_paths.ts";
import { READ_AHEAD_KB } from "../erofs/erofs_mount.ts";
import { ErofsTasks, imagePath } from "../erofs/erofs_tasks.ts";
import { readCachedImage } from "../erofs/cached_image_file.ts";
import type { PlacedImage, Resumed } from "../erofs/placed_image.ts";
import { recomputeDevices } from "../erofs/recompute_devices.ts";
import { SuperBlocks } from "../erofs/super_blocks.ts";
import type { ImageMount } from "../image_mount.ts";
import { fscacheKeeperPath, Keeper } from "../keeper/keeper.ts";
import type { UnmountWatch } from "../unmount/unmount_watch.ts";
import { openCacheDevice } from "./cache_device.ts";
import { CacheServer } from "./cache_server.ts";
import { CachedImage, type MadeImage } from "./cached_image.ts";
import { type CullLimits, cullLimits, KERNEL_LIMITS } from "./cull_limits.ts";
import { Culler } from "./culler.ts";
import { domainOf, leaveDomain, volumeOf } from "./domain.ts";
import { type OfferedImage, Offers } from "./offers.ts";

const log = logger("mount", "fscache");

/** Name of the descriptor that the keeper holds. */
const KEPT = "cachefiles";
/** Separates the number of a copy from the digest of an image. */
const COPY_MARK = ".";
/** Maximum images of the same content in use at once. */
const SAME_IMAGES = 64;

/** Options of {@link FscacheImages}. */
export interface FscacheOptions {
  /** An existing directory of ours. */
  readonly stateDir: string;
  /** Directory of the blob cache, which contains that of the kernel's cache. */
  readonly cacheDir: string;
  /** Maximum wait of a program for data that are not cached; then it gets EIO. */
  readonly deadlineMs: number;
  /** Space to leave free on the file system; default: the kernel's own limits. */
  readonly minFree?: SizeLimit;
  /** Images that a successor must offer again, as they may be mounted. */
  readonly offered?: () => Promise<readonly OfferedImage[]>;
}

/** The kernel's cache, opened for us. */
interface OpenedCache {
  readonly device: Fd;
  readonly keeper: Keeper;
  /** Images of the same domain share devices. */
  readonly domain: string;
}

/** What the kernel reads of an image. */
interface NamedImage {
  readonly fsid: string;
  readonly cached: CachedImage;
}

/** Images mounted as EROFS on the kernel's cache. Disposing unmounts them all. */
export class FscacheImages implements AsyncDisposable {
  readonly #superBlocks: SuperBlocks<NamedImage>;
  readonly #volume: string;
  readonly #culler: Culler;
  readonly #server: CacheServer;
  /** Images mounted by others. */
  readonly offers: Offers;

  private constructor(
    private readonly options: FscacheOptions,
    watch: UnmountWatch,
    private readonly cache: OpenedCache,
  ) {
    const { device, domain } = cache;
    const close = (image: NamedImage) => this.#close(image);
    this.#superBlocks = new SuperBlocks(watch, { fsDriver: "erofs-fscache", log, close });
    this.#volume = volumeOf(domain);
    this.#culler = new Culler(device, kernelCacheDir(options.cacheDir), limitsOf(options));
    this.#server = new CacheServer(device, options.deadlineMs, this.#culler);
    this.offers = new Offers(this.#server, imagesDir(options.stateDir), options.deadlineMs);
  }

  /**
   * Opens the kernel's cache and starts serving.
   *
   * @throws {NydusGdError} "environment", "busy" when it is unavailable, with the reason
   */
  static async start(options: FscacheOptions, watch: UnmountWatch): Promise<FscacheImages> {
    const device = await openCacheDevice(kernelCacheDir(options.cacheDir), limitsOf(options));
    const images = await FscacheImages.#make(options, watch, device);
    images.#server.serve();
    return images;
  }

  /**
   * Takes over the mounts of a process that was killed or has left.
   *
   * @param images returns what that process had mounted; called when needed
   * @returns a mount for each image, undefined if it cannot be taken over; undefined as a whole if nothing is left, as
   * after a reboot, or if every holder of the device has died, which is logged: then the mounts are dead
   */
  static async resume(
    options: FscacheOptions,
    watch: UnmountWatch,
    images: () => Promise<readonly PlacedImage[]>,
  ): Promise<Resumed<FscacheImages> | undefined> {
    const record = fscacheKeeperPath(options.stateDir);
    if (!await Keeper.isOfThisBoot(record)) return undefined;
    const device = await takeDevice(record);
    if (device === undefined) {
      await FscacheImages.abandon(options.stateDir);
      return undefined;
    }
    const resumed = await FscacheImages.#make(options, watch, device);
    const before = await images();
    const mounts = await Promise.all(before.map((placed) => resumed.#restore(placed)));
    for (const offered of await options.offered?.() ?? []) await resumed.#restoreOffer(offered);
    resumed.#server.serve();
    log.info("kernel's cache taken over", { images: before.length });
    return { images: resumed, mounts };
  }

  /** Gives up what {@link resume} could not take over: its mounts are dead. */
  static async abandon(stateDir: string): Promise<void> {
    const record = fscacheKeeperPath(stateDir);
    if (await Keeper.isOfThisBoot(record)) await leaveDomain(stateDir);
    await Keeper.discard(record);
    await ignore(Deno.errors.NotFound, Deno.remove(imagesDir(stateDir), { recursive: true }));
  }

  static async #make(options: FscacheOptions, watch: UnmountWatch, device: Fd): Promise<FscacheImages> {
    const { stateDir } = options;
    using cleanup = new DisposableStack();
    cleanup.use(device);
    await Deno.mkdir(imagesDir(stateDir), { recursive: true, mode: 0o700 });
    const domain = await domainOf(stateDir);
    const keeper = await Keeper.start(fscacheKeeperPath(stateDir), new Map([[KEPT, device]]));
    cleanup.move();
    return new FscacheImages(options, watch, { device, keeper, domain });
  }

  /**
   * Mounts an image.
   *
   * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "environment", "io", and errors of
   * the backend when a blob cannot be opened
   */
  async add(placed: PlacedImage): Promise<ImageMount> {
    const { image, number } = placed;
    const { stateDir } = this.options;
    await using cleanup = new AsyncDisposableStack();
    using tasks = new ErofsTasks();
    const kept = imagePath(stateDir, image);
    const path = `${imagesDir(stateDir)}/${image.name}.making`;
    cleanup.defer(() => ignore(Deno.errors.NotFound, Deno.remove(path)));
    const tables = await tasks.keep(image.bootstrap, kept);
    const cached = cleanup.use(await this.#open({ image, number, tables }));
    const digest = await tasks.makeCached(kept, path, cached.names);
    cached.openFile(path);
    const fsid = await this.#mount(tasks, placed, digest, cached);
    await Deno.rename(path, keptPath(stateDir, fsid));
    cleanup.move();
    return this.#superBlocks.add(placed, { fsid, cached });
  }

  #open(made: MadeImage): Promise<CachedImage> {
    return CachedImage.open(this.#server, this.#volume, made, this.options.deadlineMs);
  }

  /**
   * Mounts under the first name of the image that is not in use: an identical image may be mounted, or its super block
   * still be alive.
   */
  async #mount(tasks: ErofsTasks, { target }: PlacedImage, digest: string, cached: CachedImage): Promise<string> {
    for (let copy = 0; copy < SAME_IMAGES; copy++) {
      const fsid = copy === 0 ? digest : `${copy}${COPY_MARK}${digest}`; // the kernel compares 31 characters of a name
      if (this.#server.sourceOf(this.#volume, fsid) !== undefined) continue;
      cached.offer(fsid);
      try {
        await tasks.mountCached({ domain: this.cache.domain, fsid, target, readAheadKb: READ_AHEAD_KB });
        return fsid;
      } catch (error) {
        if (!hasCode(error, "exists")) throw error;
      }
    }
    throw new NydusGdError("unsupported", `Cannot mount image: ${SAME_IMAGES} like it are in use`);
  }

  /** Takes over an image of an earlier process; undefined, and logged, if that fails: its readers get errors. */
  async #restore(placed: PlacedImage): Promise<ImageMount | undefined> {
    const { image, number, target } = placed;
    try {
      const fsid = fsidAt(target, this.cache.domain);
      if (fsid === undefined) return undefined;
      const { stateDir } = this.options;
      const path = keptPath(stateDir, fsid);
      const made = await readCachedImage(path);
      if (made === undefined || made.digest !== digestIn(fsid)) {
        throw new NydusGdError("corrupt", `Cannot serve image ${fsid}: its file is damaged or gone`);
      }
      const cached = await this.#open({
        image,
        number,
        tables: (await recomputeDevices(image, stateDir)).devices,
        names: made.names,
      });
      cached.openFile(path);
      cached.offer(fsid);
      return this.#superBlocks.add(placed, { fsid, cached });
    } catch (error) {
      log.error("image is lost, its readers get errors", { image: image.name, error: messageOf(error) });
      return undefined;
    }
  }

  async #restoreOffer(offered: OfferedImage): Promise<void> {
    try {
      await this.offers.restore(offered);
    } catch (error) {
      log.error("image is lost, its readers get errors", { image: offered.fsid, error: messageOf(error) });
    }
  }

  /** The kernel has released the super block. */
  async #close({ fsid, cached }: NamedImage): Promise<void> {
    cached[Symbol.dispose]();
    await ignore(Deno.errors.NotFound, Deno.remove(keptPath(this.options.stateDir, fsid)));
  }

  /**
   * Culls everything from the kernel's cache that no mount uses; returns the bytes freed. @throws {NydusGdError} "io"
   */
  emptyCache(): Promise<number> {
    return this.#culler.cullAll();
  }

  /** Counters of the cache server. */
  counters(): ReturnType<CacheServer["counters"]> {
    return this.#server.counters();
  }

  /** Number of readers waiting for data. */
  get waiting(): number {
    return this.#server.waiting;
  }

  /** Leaves everything to a successor: the keeper holds the device, and programs that read wait. */
  async leave(): Promise<void> {
    if (!this.#superBlocks.leave()) return;
    await this.#server.leave();
    this.cache.keeper.leave();
    this.#release();
  }

  /** Unmounts everything and ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!await this.#superBlocks.unmountAll()) return;
    const { stateDir } = this.options;
    if (this.#superBlocks.parts.length > 0) await leaveDomain(stateDir);
    await this.#server.end();
    await this.cache.keeper[Symbol.asyncDispose]();
    this.#release();
    await ignore(Deno.errors.NotFound, Deno.remove(imagesDir(stateDir), { recursive: true }));
  }

  #release(): void {
    this.cache.device[Symbol.dispose]();
    for (const { cached } of this.#superBlocks.parts) cached[Symbol.dispose]();
    this.offers.end();
    this.#superBlocks.release();
  }
}

function limitsOf({ cacheDir, minFree }: FscacheOptions): CullLimits {
  if (minFree === undefined) return KERNEL_LIMITS;
  const { blocks, blockSize } = statfs(cacheDir);
  return cullLimits(minFree, blocks * blockSize);
}

/** The device of a predecessor from its keeper; undefined if none holds it, or the kernel cannot continue with it. */
async function takeDevice(record: string): Promise<Fd | undefined> {
  const device = (await Keeper.take(record))?.get(KEPT);
  if (device === undefined) return undefined;
  if (restore(device)) return device;
  log.error("this kernel does not let another process take over its cache (Linux 6.8), images fail with errors");
  device[Symbol.dispose]();
  return undefined;
}

/** Name of the image mounted on `target` from the domain; some kernels do not report the domain. */
function fsidAt(target: string, domain: string): string | undefined {
  const options = new Map(
    mountAt(target)?.superOptions.split(",").map((option): [string, string] => {
      const [key = "", value = ""] = option.split("=");
      return [key, value];
    }),
  );
  return (options.get("domain_id") ?? domain) === domain ? options.get("fsid") : undefined;
}

function digestIn(fsid: string): string | undefined {
  return fsid.split(COPY_MARK).at(-1);
}

/** Path of the image file of a mount, which a successor needs. */
function keptPath(stateDir: string, fsid: string): string {
  return `${imagesDir(stateDir)}/${fsid}`;
}

function imagesDir(stateDir: string): string {
  return `${stateDir}/fscache`;
}

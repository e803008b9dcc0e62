/**
 * An image that the kernel can mount from its cache: its file and its devices, offered.
 *
 * All blobs are opened first: the kernel would mount without a device that it cannot open, and the name of a device is
 * known only once its blob is open. Then the image file with these names is made.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import { requireAgreement } from "../reads/device_file.ts";
import type { MountableImage, OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { storeOf } from "../reads/missing_data.ts";
import { openBlobs, openingDeadline } from "../reads/open_blobs.ts";
import type { CacheServer } from "./cache_server.ts";
import { deviceSize, deviceTag } from "./device_tag.ts";
import { DeviceSource, type DeviceUse, ImageSource, type ImageSourceOptions } from "./object_source.ts";

/** An image, and what was made from it for the kernel. */
export interface MadeImage {
  readonly image: MountableImage;
  readonly number: number;
  /** Its devices, as returned by {@link ErofsTasks.keep}. */
  readonly tables: readonly DeviceTable[];
  /** Names of the devices, if the image file exists already: it may be mounted. */
  readonly names?: readonly string[];
}

/** A device used by the image. */
interface UsedDevice {
  readonly tag: string;
  readonly source: DeviceSource;
  readonly use: DeviceUse;
}

/** One offered image. Disposing withdraws everything; reads of what the kernel still has open are EIO. */
export class CachedImage implements Disposable {
  #source: ImageSource | undefined;
  #fsid: string | undefined;

  private constructor(
    private readonly server: CacheServer,
    private readonly volume: string,
    private readonly known: KnownImage,
    private readonly devices: readonly UsedDevice[],
  ) {}

  /**
   * Opens the blobs and offers the devices.
   *
   * @param volume images in the same volume share devices
   * @throws {NydusGdError} "invalid-image" when image and blob, or two images, contradict each other; errors of the
   * backend when a blob cannot be opened
   */
  static async open(server: CacheServer, volume: string, made: MadeImage, deadlineMs: number): Promise<CachedImage> {
    const { image, number, tables } = made;
    const known: KnownImage = { number, image, blobs: [] };
    using deadline = openingDeadline(image, deadlineMs);
    const blobs = await Promise.all(
      openBlobs(tables.map(({ blobIndex }) => storeOf(known, blobIndex)), deadline.signal),
    );
    const uses = tables.map((table, index): DeviceUse => {
      const blob = blobs[index] as OpenBlob;
      requireAgreement(table, blob);
      known.blobs[table.blobIndex] = blob;
      return { known, table, blob };
    });
    const names = made.names ?? await Promise.all(uses.map(nameOf));
    using cleanup = new DisposableStack();
    const devices = uses.map((use, index) => {
      const device = offerDevice(server, volume, names[index] as string, use);
      cleanup.defer(() => releaseDevice(server, volume, device));
      return device;
    });
    cleanup.move();
    return new CachedImage(server, volume, known, devices);
  }

  /** Names of the devices, in the order of the image. */
  get names(): string[] {
    return this.devices.map(({ tag }) => tag);
  }

  /** Opens the image file, made with {@link names}. Called once, before {@link offer}. @throws {SyscallError} */
  openFile(path: string, options?: ImageSourceOptions): void {
    this.#source = ImageSource.open(this.known, path, options);
  }

  /** Lets the kernel mount the image under this name only. */
  offer(fsid: string): void {
    if (this.#source === undefined) throw new NydusGdError("internal", `Cannot offer image ${fsid}: it has no file`);
    this.withdraw();
    this.server.offer(this.volume, fsid, this.#source);
    this.#fsid = fsid;
  }

  /** Resolves when the kernel has nothing of the image file open. */
  async whenClosed(): Promise<void> {
    if (this.#source !== undefined) await this.server.whenClosed(this.#source);
  }

  /** Withdraws the name: no new mounts; existing ones continue. */
  withdraw(): void {
    if (this.#fsid !== undefined) this.server.withdraw(this.volume, this.#fsid);
    this.#fsid = undefined;
  }

  [Symbol.dispose](): void {
    this.withdraw();
    for (const device of this.devices) releaseDevice(this.server, this.volume, device);
    this.#source?.[Symbol.dispose]();
  }
}

async function nameOf({ known, table, blob }: DeviceUse): Promise<string> {
  return deviceTag(await storeOf(known, table.blobIndex).copiesName(), table, deviceSize(table, blob.chunks));
}

function offerDevice(server: CacheServer, volume: string, tag: string, use: DeviceUse): UsedDevice {
  const { table, blob } = use;
  const sizeBytes = deviceSize(table, blob.chunks);
  const shared = server.sourceOf(volume, tag);
  if (shared !== undefined && (!(shared instanceof DeviceSource) || shared.sizeBytes !== sizeBytes)) {
    throw new NydusGdError("invalid-image", `Cannot mount device ${tag}: images disagree on its size`);
  }
  const source = shared ?? new DeviceSource(sizeBytes);
  source.add(use);
  server.offer(volume, tag, source);
  return { tag, source, use };
}

function releaseDevice(server: CacheServer, volume: string, { tag, source, use }: UsedDevice): void {
  if (!source.remove(use)) server.withdraw(volume, tag);
}

/**
 * An image that the kernel may mount out of its cache: its file and its devices, offered.
 *
 * Every blob is opened first: the kernel would mount without a device that it cannot open.
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import { requireAgreement } from "../erofs/complete_device.ts";
import { openingDeadline } from "../erofs/placed_image.ts";
import type { MountableImage, OpenBlob } from "../image_mount.ts";
import { type KnownImage, storeOf } from "../missing_data.ts";
import type { CacheServer } from "./cache_server.ts";
import { deviceSize, deviceTag } from "./device_tag.ts";
import { DeviceSource, type DeviceUse, ImageSource } from "./object_source.ts";

/** An image, and the file that was made of it for the kernel. */
export interface MadeImage {
  readonly image: MountableImage;
  readonly number: number;
  /** By ErofsTasks.makeCached. */
  readonly path: string;
  readonly tables: readonly DeviceTable[];
}

/** A device that the image uses. */
interface UsedDevice {
  readonly tag: string;
  readonly source: DeviceSource;
  readonly use: DeviceUse;
}

/** See the module. Disposing takes everything back; what the kernel has open of it is then EIO. */
export class CachedImage implements Disposable {
  #fsid: string | undefined;

  private constructor(
    private readonly server: CacheServer,
    private readonly volume: string,
    readonly source: ImageSource,
    private readonly devices: readonly UsedDevice[],
  ) {}

  /**
   * Opens file and blobs, and offers the devices.
   *
   * @param volume images in one volume share devices
   * @throws {NydusGdError} "invalid-image" when image and blob, or two images, contradict each other; what a blob's home
   * says when it cannot be opened
   */
  static async open(server: CacheServer, volume: string, made: MadeImage, deadlineMs: number): Promise<CachedImage> {
    const { image, number, path, tables } = made;
    const known: KnownImage = { number, image, blobs: [] };
    using deadline = openingDeadline(image, deadlineMs);
    const blobs = await Promise.all(tables.map(({ blobIndex }) => storeOf(known, blobIndex).open(deadline.signal)));
    using cleanup = new DisposableStack();
    const devices = tables.map((table, index) => {
      const blob = blobs[index] as OpenBlob;
      known.blobs[table.blobIndex] = blob;
      const device = offerDevice(server, volume, { known, table, blob });
      cleanup.defer(() => giveBack(server, volume, device));
      return device;
    });
    const file = open(path, O.RDONLY);
    const source = new ImageSource(known, file, fstat(file).size);
    cleanup.move();
    return new CachedImage(server, volume, source, devices);
  }

  /** The kernel may mount it under this name from now on, and under no other. */
  offer(fsid: string): void {
    this.withdraw();
    this.server.offer(this.volume, fsid, this.source);
    this.#fsid = fsid;
  }

  /** The kernel may not mount it any more; what is mounted goes on. */
  withdraw(): void {
    if (this.#fsid !== undefined) this.server.withdraw(this.volume, this.#fsid);
    this.#fsid = undefined;
  }

  [Symbol.dispose](): void {
    this.withdraw();
    for (const device of this.devices) giveBack(this.server, this.volume, device);
    this.source[Symbol.dispose]();
  }
}

function offerDevice(server: CacheServer, volume: string, use: DeviceUse): UsedDevice {
  const { known, table, blob } = use;
  requireAgreement(table, blob);
  const tag = deviceTag(storeOf(known, table.blobIndex), table);
  const sizeBytes = deviceSize(table, blob.chunks);
  const shared = server.sourceOf(volume, tag);
  if (shared !== undefined && (!(shared instanceof DeviceSource) || shared.sizeBytes !== sizeBytes)) {
    throw new NydusGdError("invalid-image", `Cannot mount blob ${tag}: images disagree on its size`);
  }
  const source = shared ?? new DeviceSource(sizeBytes);
  source.add(use);
  server.offer(volume, tag, source);
  return { tag, source, use };
}

function giveBack(server: CacheServer, volume: string, { tag, source, use }: UsedDevice): void {
  if (!source.remove(use)) server.withdraw(volume, tag);
}

/**
 * The images that a session shows, each under its name in the root folder.
 *
 * ```
 * add ─► the kernel finds the name ─► removed: it forgets the name ─► nothing refers to the image ─► released
 * ```
 * The kernel asks for a name once and remembers the answer, so it is told of every change.
 *
 * @module
 */
import { FUSE_ROOT_ID } from "../../../ffi/fuse_kernel.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { ImageMount, MountableImage } from "../image_mount.ts";
import { deviceName } from "./device_tree.ts";
import { type ImageRegistry, isCounted, type RegisteredImage } from "./image_registry.ts";
import { nodeId } from "./node_id.ts";
import type { Notices } from "./notices.ts";

/** The session that shows the images. */
export interface ShowingSession {
  readonly mountpoint: string;
  /** Whether one image is the mount itself, so that no other can be added. */
  readonly isSingle: boolean;
  /** Whether it has ended, or was left to a successor. */
  readonly hasEnded: () => boolean;
}

/** An image that a session shows. */
export interface ShownImage extends ImageMount {
  /**
   * To be called when nothing refers to the image any more, for one whose end cannot be detected here. It must have no
   * name.
   */
  releaseUncounted(): void;
}

/** Adds images to what the kernel sees, and removes them from it. */
export class ShownImages {
  constructor(
    private readonly images: ImageRegistry,
    private readonly notices: Notices,
    private readonly session: ShowingSession,
  ) {}

  /** Shows an image. @throws {NydusGdError} as FuseSession.add */
  async add(image: MountableImage, imageNumber: number): Promise<ShownImage> {
    const { isSingle, hasEnded } = this.session;
    if (isSingle) throw new NydusGdError("internal", "Cannot add image: the session serves one image as its root");
    if (hasEnded()) throw new NydusGdError("internal", "Cannot add image: the session has ended");
    const entry = this.images.add(image, imageNumber);
    await this.notices.invalidateName(FUSE_ROOT_ID, image.name); // an earlier process may have shown another image by it
    await this.notices.invalidateRoot();
    return this.mountOf(entry);
  }

  /** Returns the mount of a registered image. */
  mountOf(entry: RegisteredImage): ShownImage {
    const { mountpoint, isSingle, hasEnded } = this.session;
    return {
      fsDriver: "fuse",
      path: isSingle ? mountpoint : `${mountpoint}/${entry.image.name}`,
      isEndless: !isCounted(entry),
      isSeen: () => !hasEnded(),
      released: entry.released.promise,
      releaseUncounted: () => this.images.releaseUncounted(entry),
      [Symbol.asyncDispose]: () => this.#remove(entry),
    };
  }

  async #remove(entry: RegisteredImage): Promise<void> {
    if (this.session.hasEnded() || !this.images.hide(entry)) return;
    const { name, tree, devices = [] } = entry.image;
    const folder = nodeId(entry.number, tree.rootIno);
    // a device in use would keep its name, and its reference, below a folder that has none
    for (const index of devices.keys()) await this.notices.invalidateName(folder, deviceName(index));
    await this.notices.invalidateName(FUSE_ROOT_ID, name);
    await this.notices.invalidateRoot();
    this.images.releaseIfUnused(entry);
  }
}

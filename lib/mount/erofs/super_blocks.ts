/**
 * The super blocks that a server of ours has to serve: of mounted images, and of unmounted ones that overlays or open
 * files still use.
 *
 * ```
 * add ─► mounted ── unmount ─► in use elsewhere ── the kernel releases it ─► closed ─► released
 *                                     └── serving ends ─► the server closes its parts ─► release
 * ```
 *
 * @module
 */
import type { Logger } from "@logtape/logtape";
import { MNT } from "../../../ffi/sys_mount.ts";
import { messageOf } from "../../base/errors.ts";
import type { FsDriver } from "../data_path.ts";
import { unmount } from "../unmount/unmount.ts";
import type { ImageMount } from "../image_mount.ts";
import type { UnmountWatch } from "../unmount/unmount_watch.ts";
import { isErofsAt } from "./erofs_mount.ts";
import { drain, type PlacedImage } from "./placed_image.ts";

/** A super block, and what the kernel reads by it. */
interface SuperBlock<Parts> {
  readonly placed: PlacedImage;
  readonly parts: Parts;
  readonly released: PromiseWithResolvers<void>;
}

/** What all super blocks of one server have in common. */
export interface SuperBlocksOptions<Parts> {
  readonly fsDriver: FsDriver;
  readonly log: Logger;
  /** Closes what a super block read: the kernel has released it. */
  readonly close: (parts: Parts) => Promise<void>;
}

/** The super blocks of one server that are alive, each with the parts that it needs. */
export class SuperBlocks<Parts> {
  readonly #alive = new Set<SuperBlock<Parts>>();
  #hasEnded = false;

  constructor(private readonly watch: UnmountWatch, private readonly options: SuperBlocksOptions<Parts>) {}

  /** Whether serving has ended, or is ending. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Follows the super block of an image until the kernel has released it. */
  add(placed: PlacedImage, parts: Parts): ImageMount {
    const { fsDriver, log } = this.options;
    const { target } = placed;
    const one: SuperBlock<Parts> = { placed, parts, released: Promise.withResolvers() };
    this.#alive.add(one);
    // unmounted while nobody served it, it may still be in use elsewhere: keep it to the end
    if (isErofsAt(target)) {
      this.watch.gone(target).then(() => this.#onGone(one)).catch((error) =>
        log.error("image not closed", { target, error: messageOf(error) })
      );
    }
    return {
      fsDriver,
      path: target,
      isSeen: () => isErofsAt(target),
      released: one.released.promise,
      [Symbol.asyncDispose]: () => unmount(target, MNT.DETACH),
    };
  }

  async #onGone(one: SuperBlock<Parts>): Promise<void> {
    if (this.#hasEnded || !this.#alive.delete(one)) return;
    await this.options.close(one.parts);
    one.released.resolve();
  }

  /** The parts of all super blocks that are alive. */
  get parts(): Parts[] {
    return Array.from(this.#alive, ({ parts }) => parts);
  }

  /** Serving ends, and the mounts are left to a successor. Returns false if it had ended before. */
  leave(): boolean {
    const isFirst = !this.#hasEnded;
    this.#hasEnded = true;
    return isFirst;
  }

  /**
   * Serving ends: unmounts all images and waits a while for the kernel to release them. The users of those that are
   * alive afterwards must get errors.
   *
   * @returns false if serving had ended before
   */
  async unmountAll(): Promise<boolean> {
    if (this.#hasEnded) return false;
    for (const { placed } of this.#alive) await unmount(placed.target, MNT.DETACH);
    await drain(Array.from(this.#alive, ({ released }) => released.promise));
    this.#hasEnded = true;
    const { log } = this.options;
    for (const { placed } of this.#alive) {
      log.warn("image is still in use elsewhere, its users get errors from now on", { image: placed.image.name });
    }
    return true;
  }

  /** Releases the images of all super blocks, whose parts are closed. */
  release(): void {
    for (const { released } of this.#alive) released.resolve();
  }
}

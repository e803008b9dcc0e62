/**
 * An image with its mount point, and what the data paths of EROFS make of it.
 *
 * @module
 */
import { atMost } from "../../base/abort.ts";
import type { ImageMount, MountableImage } from "../image_mount.ts";

/** Maximum milliseconds for super blocks to go after they were unmounted; then their data end. */
const DRAIN_TIMEOUT_MS = 3_000;

/** An image, its number and its mount point. */
export interface PlacedImage {
  readonly image: MountableImage;
  readonly number: number;
  /** Mount point, an existing directory. */
  readonly target: string;
}

/** What was taken over from an earlier process: its images, and in their order the mounts, undefined for those lost. */
export interface Resumed<Images> {
  readonly images: Images;
  readonly mounts: readonly (ImageMount | undefined)[];
  /** Mount points of images of which the kernel reads a damaged file. */
  readonly damaged?: readonly string[];
}

/** Waits until every super block is gone, at most {@link DRAIN_TIMEOUT_MS}. */
export async function drain(released: Iterable<Promise<void>>): Promise<void> {
  await atMost(DRAIN_TIMEOUT_MS, Promise.all(released));
}

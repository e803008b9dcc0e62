/**
 * An image with its mount point, and the time limits shared by the data paths of EROFS.
 *
 * @module
 */
import { Deadline } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { MountableImage } from "../image_mount.ts";

/** Maximum milliseconds for super blocks to go after they were unmounted; then their data end. */
const DRAIN_TIMEOUT_MS = 3_000;

/** An image, its number and its mount point. */
export interface PlacedImage {
  readonly image: MountableImage;
  readonly number: number;
  /** Mount point, an existing directory. */
  readonly target: string;
}

/** Deadline for opening the blobs of an image. */
export function openingDeadline({ name }: MountableImage, deadlineMs: number): Deadline {
  const state = `its blobs returned no chunk tables within ${deadlineMs} ms`;
  return new Deadline(deadlineMs, undefined, () => new NydusGdError("unavailable", `Cannot mount ${name}: ${state}`));
}

/** Waits until every super block is gone, at most {@link DRAIN_TIMEOUT_MS}. */
export async function drain(released: Iterable<Promise<void>>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, DRAIN_TIMEOUT_MS);
  await Promise.race([Promise.all(released), late.promise]);
  clearTimeout(timer);
}

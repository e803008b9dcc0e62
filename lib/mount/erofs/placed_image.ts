/**
 * An image and its mount point, and the waits that every EROFS of our own data has.
 *
 * @module
 */
import { Deadline } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { MountableImage } from "../image_mount.ts";

/** How long super blocks have to go after they were unmounted, before their data end. */
const DRAIN_TIMEOUT_MS = 3_000;

/** See the module. */
export interface PlacedImage {
  readonly image: MountableImage;
  readonly number: number;
  /** An existing folder. */
  readonly target: string;
}

/** How long the blobs of an image may take to be opened. */
export function openingDeadline({ name }: MountableImage, deadlineMs: number): Deadline {
  const state = `its blobs gave no chunk tables within ${deadlineMs} ms`;
  return new Deadline(deadlineMs, undefined, () => new NydusGdError("unavailable", `Cannot mount ${name}: ${state}`));
}

/** Waits until every super block is gone, {@link DRAIN_TIMEOUT_MS} at most. */
export async function drain(released: Iterable<Promise<void>>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, DRAIN_TIMEOUT_MS);
  await Promise.race([Promise.all(released), late.promise]);
  clearTimeout(timer);
}

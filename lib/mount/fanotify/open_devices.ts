/**
 * Opens the devices of an EROFS image as files that the kernel reads directly.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import { completeDevicePath, devicePathOf } from "../reads/device_file.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { storeOf } from "../reads/missing_data.ts";
import { openBlobs } from "../reads/open_blobs.ts";
import { CopiedDevice, type CopyFolder, SharedDevice, type WatchedDevice } from "./watched_device.ts";

/** A device: watched, or complete. */
export interface ErofsDevice extends AsyncDisposable {
  readonly path: string;
  readonly watched: WatchedDevice | undefined;
}

/** Where the files of devices are, and which of them may go unwatched. */
export interface DeviceFiles {
  readonly copies: CopyFolder;
  /** Whether the file of a blob has no mark, so that it needs no watch if complete. */
  readonly mayBeUnwatched: (blob: OpenBlob) => boolean;
}

/**
 * Opens the blobs of the image and a device on each.
 *
 * @param known `blobs` is filled in
 * @throws {NydusGdError} "invalid-image" when image and blob contradict each other, "unsupported" for a transient
 * cache, and errors of the backend when a blob cannot be opened
 */
export async function openDevices(
  known: KnownImage,
  tables: readonly DeviceTable[],
  files: DeviceFiles,
  signal: AbortSignal,
): Promise<ErofsDevice[]> {
  const blobs = await Promise.all(openBlobs(tables.map(({ blobIndex }) => storeOf(known, blobIndex)), signal));
  await using opened = new AsyncDisposableStack();
  const devices = tables.map((table, index) => {
    const blob = blobs[index] as OpenBlob;
    known.blobs[table.blobIndex] = blob;
    return opened.use(openDevice(known, table, blob, files));
  });
  opened.move();
  return devices;
}

function openDevice(
  known: KnownImage,
  table: DeviceTable,
  blob: OpenBlob,
  { copies, mayBeUnwatched }: DeviceFiles,
): ErofsDevice {
  if (blob.path === undefined) {
    throw new NydusGdError("unsupported", `Cannot watch blobs of ${known.image.name}: the cache keeps nothing`);
  }
  const store = storeOf(known, table.blobIndex);
  const complete = mayBeUnwatched(blob) ? completeDevicePath(table, blob, store) : undefined;
  if (complete !== undefined) return { path: complete, watched: undefined, [Symbol.asyncDispose]: async () => {} };
  const path = devicePathOf(table, blob);
  const watched = path === undefined
    ? new CopiedDevice(known, table, blob, copies)
    : new SharedDevice(known, table, blob, path);
  return { path: watched.path, watched, [Symbol.asyncDispose]: () => watched[Symbol.asyncDispose]() };
}

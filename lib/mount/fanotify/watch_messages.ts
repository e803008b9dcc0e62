/**
 * Messages between the main thread and the fanotify Worker. Those to the Worker go through ../reads/posted.ts.
 *
 * @module
 */
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { PostedEnd } from "../reads/posted.ts";
import type { FileKey } from "./event_file.ts";

/** The first message to the Worker. All descriptors are owned by the main thread. */
export interface WatchStart {
  readonly group: number;
  /** Readable when the Worker must end. */
  readonly stop: number;
  /** Address of the event file. */
  readonly records: bigint;
  readonly freed: Int32Array<SharedArrayBuffer>;
  readonly messages: PostedEnd;
  /** Cells of {@link WATCH_COUNTER}. */
  readonly counters: Float64Array<SharedArrayBuffer>;
}

/** Indexes of the Worker's counters. */
export const WATCH_COUNTER = { events: 0, hits: 1, denied: 2, LENGTH: 3 } as const;

/** One image's use of a file: its chunks, and which of them are cached there. */
export interface WatchedUse {
  readonly table: DeviceTable;
  readonly blob: OpenBlob;
}

/** Messages to the Worker, through the port. */
export type ToWatcher =
  /** Replaces the uses of the file. */
  | { readonly kind: "file"; readonly file: FileKey; readonly uses: readonly WatchedUse[] }
  | { readonly kind: "drop"; readonly file: FileKey };

/** An event whose data are not cached; the main thread answers it and closes `fd`. */
export interface WatchMiss {
  readonly kind: "miss";
  readonly slot: number;
  readonly fd: number;
  readonly file: FileKey;
  readonly offset: number;
  readonly count: number;
}

/** Messages from the Worker. */
export type FromWatcher =
  | { readonly kind: "ready" }
  | WatchMiss
  /** The kernel could not ask about a read, and has denied it. Sent once for each reason. */
  | { readonly kind: "denied"; readonly reason: string }
  /** The Worker has ended; `message` if it was not asked to. */
  | { readonly kind: "ended"; readonly message?: string };

/** Key of a file in maps. */
export function keyOf({ dev, ino }: FileKey): string {
  return `${dev}:${ino}`;
}

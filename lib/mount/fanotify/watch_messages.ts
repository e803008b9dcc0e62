/**
 * What the main thread and the fanotify Worker say to each other. Messages to the Worker are posted (../posted.ts).
 *
 * @module
 */
import type { DeviceTable } from "../../rafs/device_table.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { PostedEnd } from "../posted.ts";
import type { FileKey } from "./event_file.ts";

/** The first message to the Worker. All descriptors are owned by the main thread. */
export interface WatchStart {
  readonly group: number;
  /** Readable when the Worker is to end. */
  readonly stop: number;
  /** Address of the event file. */
  readonly records: bigint;
  readonly freed: Int32Array<SharedArrayBuffer>;
  readonly messages: PostedEnd;
  /** Cells of {@link WATCH_COUNTER}. */
  readonly counters: Float64Array<SharedArrayBuffer>;
}

/** Cells of the Worker's counters. */
export const WATCH_COUNTER = { events: 0, hits: 1, LENGTH: 2 } as const;

/** One image's use of a file: its chunks, and which of them can be read from there. */
export interface WatchedUse {
  readonly table: DeviceTable;
  readonly blob: OpenBlob;
}

/** Main to Worker, through the port. */
export type ToWatcher =
  /** From now on events of the file are about these uses, in place of those before. */
  | { readonly kind: "file"; readonly file: FileKey; readonly uses: readonly WatchedUse[] }
  | { readonly kind: "drop"; readonly file: FileKey };

/** An event whose data are not there; the main thread answers it and closes `fd`. */
export interface WatchMiss {
  readonly kind: "miss";
  readonly slot: number;
  readonly fd: number;
  readonly file: FileKey;
  readonly offset: number;
  readonly count: number;
}

/** Worker to main. */
export type FromWatcher =
  | { readonly kind: "ready" }
  | WatchMiss
  /** It serves no more; `message` when it was not told to end. */
  | { readonly kind: "ended"; readonly message?: string };

/** A file's name in maps. */
export function keyOf({ dev, ino }: FileKey): string {
  return `${dev}:${ino}`;
}

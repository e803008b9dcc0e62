/**
 * Messages between the main thread and the FUSE Workers. Messages to a Worker are posted (../reads/posted.ts).
 *
 * @module
 */
import type { FuseRequest } from "../../../ffi/libfuse3.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { PostedEnd } from "../reads/posted.ts";

/** The first message to a Worker. */
export interface WorkerStart {
  /** /dev/fuse, owned by the Worker from now on. */
  readonly fd: number;
  /** Region of the request file, see request_file.ts. */
  readonly region: bigint;
  readonly freed: Int32Array<SharedArrayBuffer>;
  readonly init: Uint8Array<ArrayBuffer>;
  readonly maxRead: number;
  readonly maxBackground: number;
  /** Whether OPEN requests are answered. See {@link FuseSessionOptions.openRequests}. */
  readonly openRequests: boolean;
  /** Number of the image that is the root of the mount; 0: images are folders of the root. */
  readonly rootImage: number;
  /** Images and blobs that exist before the first request. */
  readonly images: readonly ToWorker[];
  /** Creation time of the root folder, seconds since 1970. */
  readonly startSec: number;
  /** What to do before receiving the first request. */
  readonly replay: Replay;
  /** Cells of GATE. */
  readonly gate: Int32Array<SharedArrayBuffer>;
  readonly messages: PostedEnd;
  readonly counters: Float64Array<SharedArrayBuffer>;
}

/** Which requests are to be processed that another thread, or another process, has left in the region. */
export interface Replay {
  readonly inbox: boolean;
  readonly parked: boolean;
}

/** All that a predecessor may have left. */
export const REPLAY_ALL: Replay = { inbox: true, parked: true };
/** There is nothing, or the kernel sends it again. */
export const REPLAY_NOTHING: Replay = { inbox: false, parked: false };

/** Cells of an image's shared state. */
export const IMAGE_STATE = {
  /** References that the kernel holds to nodes of the image. */
  references: 0,
  /** 1: its root gets no new references. */
  removed: 1,
  LENGTH: 2,
} as const;

/**
 * Cells that stop a Worker between two requests. The Worker sets `busy` before it checks `stopped`; a request that it
 * has received by then stays in its inbox for a successor.
 */
export const GATE = { stopped: 0, busy: 1, LENGTH: 2 } as const;

/** Cells of a Worker's counters. Requests are those that it received itself. */
export const COUNTER = { requests: 0, reads: 1, readBytes: 2, misses: 3, LENGTH: 4 } as const;

/** Announces an image. */
export interface ImageMessage {
  readonly kind: "image";
  /** Its number. */
  readonly image: number;
  readonly name: string;
  /** Address and length of the mapped bootstrap. */
  readonly address: bigint;
  readonly length: number;
  readonly devices: readonly DeviceTable[] | undefined;
  readonly state: Int32Array<SharedArrayBuffer>;
}

/** Main to Worker, through the port. */
export type ToWorker =
  | ImageMessage
  | { readonly kind: "remove"; readonly image: number }
  | { readonly kind: "drop"; readonly image: number }
  | { readonly kind: "blob"; readonly image: number; readonly index: number; readonly blob: OpenBlob };

/** A READ whose data is not in the cache; the main thread answers it. */
export interface Miss {
  readonly kind: "miss";
  readonly request: FuseRequest;
  readonly slot: number;
  readonly image: number;
  readonly ino: number;
  readonly offset: number;
  readonly size: number;
}

/** Worker to main. */
export type FromWorker =
  | { readonly kind: "ready"; readonly session: bigint }
  | Miss
  /** A READ has reached a watched chunk. */
  | { readonly kind: "reached"; readonly image: number; readonly index: number; readonly chunk: number }
  /** The last reference to a removed image is gone. */
  | { readonly kind: "unreferenced"; readonly image: number }
  /** An operation failed because of the image's contents. */
  | {
    readonly kind: "damage";
    readonly image: number;
    readonly ino: number;
    readonly operation: string;
    readonly message: string;
  }
  /** The mount is gone; the session is still alive. `message` is set if the Worker failed. */
  | { readonly kind: "ended"; readonly message?: string }
  | { readonly kind: "closed" };

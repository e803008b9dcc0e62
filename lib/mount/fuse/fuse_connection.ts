/**
 * The connection of a session to the kernel: all of a session that outlives its process.
 *
 * ```
 * mount ──────────────┐
 *                     ├─► descriptors, request file ─► keep: a keeper holds them, too ─► leave: a successor takes them
 * a keeper has it ────┘                                                               └► close: nothing is left
 * ```
 * The request file (request_file.ts) has the requests that were read and not answered.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { hasResend, RESEND_NOTICE } from "../../../ffi/fuse_kernel.ts";
import { MNT } from "../../../ffi/sys_mount.ts";
import { write } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { Keeper, keeperPath } from "../keeper/keeper.ts";
import { unmount } from "../unmount/unmount.ts";
import { abortConnection, findMount, mountFuse, readInit } from "./fuse_mount.ts";
import { RequestFile } from "./request_file.ts";
import type { FuseSessionOptions } from "./session_options.ts";
import type { ConnectionPart } from "./worker_handle.ts";

/** The keeper's name for the request file. */
const REQUESTS = "fuse-requests";

/** What a connection needs to be made. */
export type FuseConnectionOptions = Pick<FuseSessionOptions, "mountpoint" | "stateDir" | "workers" | "mayMount">;

/** A mounted connection. */
export class FuseConnection {
  #keeper: Keeper | undefined;
  /** See {@link ConnectionPart.freed}. */
  readonly #freed: readonly Int32Array<SharedArrayBuffer>[];

  private constructor(
    private readonly stateDir: string,
    /** The device and its clones, one per Worker. */
    private readonly devices: readonly Fd[],
    private readonly requests: RequestFile,
    /** Minor device number of the mount. */
    private readonly number: number,
  ) {
    this.#freed = devices.map(() => new Int32Array(new SharedArrayBuffer(4)));
  }

  /**
   * Mounts, and reads the first request.
   *
   * @param maxRead size of the largest READ in bytes
   * @throws {NydusGdError} "environment", "busy", "io"; what `mayMount` rejects with
   */
  static async mount(options: FuseConnectionOptions, maxRead: number): Promise<FuseConnection> {
    const { mountpoint, stateDir, workers, mayMount } = options;
    await using cleanup = new AsyncDisposableStack();
    const requests = cleanup.use(RequestFile.create(workers));
    await mayMount;
    const { devices, connection } = mountFuse(mountpoint, workers, maxRead);
    for (const device of devices) cleanup.use(device);
    cleanup.defer(() => unmount(mountpoint, MNT.FORCE | MNT.DETACH));
    readInit(devices[0] as Fd, requests.init);
    cleanup.move();
    return new FuseConnection(stateDir, devices, requests, connection);
  }

  /**
   * Takes the connection of an earlier process from its keeper, which continues to hold it.
   *
   * @returns undefined if no keeper holds it any more, or nothing is mounted
   * @throws {NydusGdError} "unsupported" if another version left requests that cannot be read
   */
  static async take({ mountpoint, stateDir }: FuseConnectionOptions): Promise<FuseConnection | undefined> {
    const connection = findMount(mountpoint);
    if (connection === undefined) return undefined;
    const kept = await Keeper.take(keeperPath(stateDir));
    if (kept === undefined) return undefined;
    const { [REQUESTS]: file, ...others } = Object.fromEntries(kept);
    const devices = Object.values(others);
    try {
      if (file === undefined) throw new NydusGdError("unsupported", "Cannot take over requests: keeper has no file");
      return new FuseConnection(stateDir, devices, RequestFile.reopen(file, devices.length), connection);
    } catch (error) {
      for (const device of devices) device[Symbol.dispose]();
      throw error;
    }
  }

  /** Ends the keeper of a connection that nobody will {@link take}: waiting programs get an error. */
  static async abandon(stateDir: string): Promise<void> {
    await Keeper.discard(keeperPath(stateDir));
  }

  /** The part of Worker `index`. */
  partOf(index: number): ConnectionPart {
    const [device, freed] = [this.devices[index] as Fd, this.#freed[index] as Int32Array<SharedArrayBuffer>];
    return { device, region: this.requests.regionAddress(index), freed };
  }

  /** Number of Workers that can serve it. */
  get parts(): number {
    return this.devices.length;
  }

  /** A copy of the first request; empty if there is none. */
  init(): Uint8Array<ArrayBuffer> {
    return this.requests.storedInit();
  }

  /** Has the kernel resend requests that were read but not answered. Returns false if it cannot. */
  resend(): boolean {
    if (!hasResend(this.init())) return false;
    write(this.devices[0] as Fd, RESEND_NOTICE);
    this.requests.clearRecords();
    return true;
  }

  /** Starts a keeper, which replaces the one that the connection was taken from. */
  async keep(): Promise<void> {
    const kept = new Map(this.devices.map((device, index) => [`fuse-${index}`, device]));
    this.#keeper = await Keeper.start(keeperPath(this.stateDir), kept.set(REQUESTS, this.requests.fd));
  }

  /** Leaves the connection to its keeper. */
  leave(): void {
    this.#keeper?.leave();
  }

  /** Closes the descriptors of a connection that could not be served; the request file may still be in use. */
  giveUp(): void {
    this.leave();
    for (const device of this.devices) device[Symbol.dispose]();
  }

  /** Cuts the connection for those who still use the mount: they get ENOTCONN. There is nothing left to keep. */
  async cut(): Promise<void> {
    await abortConnection(this.number);
    await this.#keeper?.[Symbol.asyncDispose]();
  }

  /** Ends the keeper and closes everything. Nothing is mounted and no Worker serves any more. */
  async close(): Promise<void> {
    await this.#keeper?.[Symbol.asyncDispose]();
    for (const device of this.devices) device[Symbol.dispose]();
    this.requests[Symbol.dispose]();
  }
}

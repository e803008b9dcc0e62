/**
 * Tasks that the main thread runs in the EROFS Worker (erofs_worker.ts), one after the other.
 *
 * @module
 */
import { askWorker, startWorker, workerUrl } from "../../base/worker.ts";
import { receiveError, type SentError } from "../../base/worker_pool.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import type { MountableImage } from "../image_mount.ts";
import type { CachedMountRequest, ErofsMountRequest } from "./erofs_mount.ts";

/** Suffix of the name of an image file for the kernel, after the image's own name. */
export const IMAGE_SUFFIX = ".erofs";

/** Path of the image file for the kernel. */
export function imagePath(stateDir: string, { name }: Pick<MountableImage, "name">): string {
  return `${stateDir}/${name}${IMAGE_SUFFIX}`;
}

/** Messages to the Worker. */
export type ErofsTask =
  /** Make the image of the bootstrap in the file `path`, for a "keep" that may follow. Is not answered. */
  | { readonly kind: "prepare"; readonly path: string }
  /** Make sure that an image of the bootstrap at `address` is in the file `path`. */
  | { readonly kind: "keep"; readonly address: bigint; readonly length: number; readonly path: string }
  /** Only compute the devices of such an image. */
  | { readonly kind: "devices"; readonly address: bigint; readonly length: number }
  /** Write the image kept at `kept` to `path`, with its devices named for the kernel's cache. */
  | { readonly kind: "make-cached"; readonly kept: string; readonly path: string; readonly names: readonly string[] }
  | { readonly kind: "mount" } & ErofsMountRequest
  | { readonly kind: "mount-cached" } & CachedMountRequest
  | { readonly kind: "read"; readonly path: string; readonly offset: number };

/** Messages from the Worker. */
export interface ErofsReply {
  readonly devices?: readonly DeviceTable[];
  /** SHA-256 of an image whose devices were named, hexadecimal. */
  readonly digest?: string;
  /** Result of a read: a byte, or the name of an errno. */
  readonly read?: number | string;
  readonly error?: SentError;
}

/** One Worker, terminated on disposal. */
export class ErofsTasks implements Disposable {
  readonly #worker = startWorker(workerUrl(import.meta, "erofs_worker.ts"), "erofs");

  /**
   * Makes an image in advance, of the bootstrap in the file at `path`, for a {@link keep} of the same bootstrap. If that
   * fails, or there is no bootstrap, this has no effect.
   */
  prepare(path: string): void {
    this.#worker.postMessage({ kind: "prepare", path } satisfies ErofsTask);
  }

  /** See {@link keepImage}; the bootstrap must stay mapped meanwhile. */
  async keep({ address, length }: MountableImage["bootstrap"], path: string): Promise<readonly DeviceTable[]> {
    const { devices = [] } = await this.#run({ kind: "keep", address, length, path });
    return devices;
  }

  /** See {@link devicesOf}; the bootstrap must stay mapped meanwhile. */
  async devices({ address, length }: MountableImage["bootstrap"]): Promise<readonly DeviceTable[]> {
    const { devices = [] } = await this.#run({ kind: "devices", address, length });
    return devices;
  }

  /** See {@link makeCachedImage}: makes an image for {@link mountCached}. */
  async makeCached(kept: string, path: string, names: readonly string[]): Promise<string> {
    return (await this.#run({ kind: "make-cached", kept, path, names })).digest ?? "";
  }

  /** See {@link mountErofs}. */
  async mount(request: ErofsMountRequest): Promise<void> {
    await this.#run({ kind: "mount", ...request });
  }

  /** See {@link mountErofsCached}. */
  async mountCached(request: CachedMountRequest): Promise<void> {
    await this.#run({ kind: "mount-cached", ...request });
  }

  /** Reads the byte at `offset` of a file, or returns the name of the errno; waits as long as the kernel does. */
  async readByte(path: string, offset: number): Promise<number | string> {
    return (await this.#run({ kind: "read", path, offset })).read ?? "nothing";
  }

  async #run(task: ErofsTask): Promise<ErofsReply> {
    const answer = await askWorker<ErofsReply>(this.#worker, task, "Cannot mount EROFS");
    if (answer.error !== undefined) throw receiveError(answer.error);
    return answer;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

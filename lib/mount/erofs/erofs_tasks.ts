/**
 * What the main thread has done by the EROFS Worker (erofs_worker.ts), one task after the other.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { workerUrl } from "../../base/worker.ts";
import { receiveError, type SentError } from "../../base/worker_pool.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import type { MountableImage } from "../image_mount.ts";
import type { ErofsMountRequest } from "./erofs_mount.ts";

/** Where the image file of an image is, until it is mounted. */
export function imagePath(stateDir: string, { name }: MountableImage): string {
  return `${stateDir}/${name}.erofs`;
}

/** To the Worker. */
export type ErofsTask =
  | { readonly kind: "probe"; readonly dir: string }
  /** Makes an image of the bootstrap at `address` and writes it to `path`. */
  | { readonly kind: "make"; readonly address: bigint; readonly length: number; readonly path: string }
  /** Tells the devices of that image. */
  | { readonly kind: "devices"; readonly address: bigint; readonly length: number }
  | { readonly kind: "mount" } & ErofsMountRequest
  | { readonly kind: "read"; readonly path: string; readonly offset: number };

/** From the Worker. */
export interface ErofsAnswer {
  readonly devices?: readonly DeviceTable[];
  /** What was read: a byte, or the name of an errno. */
  readonly read?: number | string;
  readonly error?: SentError;
}

/** One Worker, which ends with it. */
export class ErofsTasks implements Disposable {
  readonly #worker = new Worker(workerUrl(import.meta, "erofs_worker.ts"), { type: "module", name: "erofs" });

  /**
   * Whether EROFS on files in `dir` can be used: see probe.ts.
   *
   * @throws {NydusGdError} "environment": why not
   */
  async probe(dir: string): Promise<void> {
    await this.#run({ kind: "probe", dir });
  }

  /** Makes an image; the bootstrap must stay mapped meanwhile. */
  async make(bootstrap: MountableImage["bootstrap"], path: string): Promise<readonly DeviceTable[]> {
    const { devices = [] } = await this.#run({ kind: "make", ...bootstrap, path });
    return devices;
  }

  /** The devices that {@link make} answers, without the image: in a third of the time, and without room on a disk. */
  async devices(bootstrap: MountableImage["bootstrap"]): Promise<readonly DeviceTable[]> {
    const { devices = [] } = await this.#run({ kind: "devices", ...bootstrap });
    return devices;
  }

  /** See {@link mountErofs}. */
  async mount(request: ErofsMountRequest): Promise<void> {
    await this.#run({ kind: "mount", ...request });
  }

  /** The byte at `offset` of a file, or the name of the errno that reading it gave; waits as long as the kernel does. */
  async readByte(path: string, offset: number): Promise<number | string> {
    return (await this.#run({ kind: "read", path, offset })).read ?? "nothing";
  }

  async #run(task: ErofsTask): Promise<ErofsAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ErofsAnswer>();
    this.#worker.onmessage = ({ data }: MessageEvent<ErofsAnswer>) => resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new NydusGdError("internal", `Cannot mount EROFS: Worker ended: ${event.message}`));
    };
    this.#worker.postMessage(task);
    const answer = await promise;
    if (answer.error !== undefined) throw receiveError(answer.error);
    return answer;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/**
 * Culls the kernel's cache when the kernel reports too little space.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { POLL, poll } from "../../../ffi/poll.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { askWorker, startWorker, workerUrl } from "../../base/worker.ts";
import type { CullLimits } from "./cull_limits.ts";

const log = logger("mount", "fscache");

/** Message to the Worker. */
export interface CullRequest {
  readonly device: number;
  /** Directory of the cache. */
  readonly dir: string;
  /** Percentage of the file system to be free; 100: cull everything unused. */
  readonly untilFree: number;
}

/** Message from the Worker. */
export interface CullReply {
  /** Number of files culled. */
  readonly culled: number;
  /** Bytes that they occupied. */
  readonly bytes: number;
  readonly error?: string;
}

/** Milliseconds to wait after a round, which may have freed too little because everything is in use. */
const PAUSE_MS = 5_000;

/** Culls one cache, one round at a time. */
export class Culler {
  #running: Promise<void> | undefined;
  #pausedUntil = 0;

  /** @param device owned by the caller */
  constructor(private readonly device: Fd, private readonly dir: string, private readonly limits: CullLimits) {}

  /** Starts culling in the background if the kernel asks for it. */
  look(): void {
    if (this.#running !== undefined || performance.now() < this.#pausedUntil) return;
    const [ready = 0] = poll([{ fd: this.device, events: POLL.OUT }], 0);
    if ((ready & POLL.OUT) === 0) return;
    this.#running = this.#cull().finally(() => this.#running = undefined);
  }

  /** Culls everything unused; returns the bytes freed. @throws {NydusGdError} "io" */
  async cullAll(): Promise<number> {
    await this.#running;
    const { bytes, error } = await this.#ask(100);
    if (error !== undefined) throw new NydusGdError("io", `Cannot empty the kernel's cache: ${error}`);
    return bytes;
  }

  /** Resolves when no culling is in progress. */
  async settled(): Promise<void> {
    await this.#running;
  }

  /** Never rejects. */
  async #cull(): Promise<void> {
    const { culled, bytes, error } = await this.#ask(this.limits.run);
    this.#pausedUntil = performance.now() + PAUSE_MS;
    if (error !== undefined) log.warn("kernel's cache not culled", { error });
    else log.info("files left the kernel's cache", { culled, bytes });
  }

  /** Never rejects. */
  async #ask(untilFree: number): Promise<CullReply> {
    const worker = startWorker(workerUrl(import.meta, "cull_worker.ts"), "cull");
    const { device, dir } = this;
    const request: CullRequest = { device: device.raw, dir, untilFree };
    try {
      return await askWorker<CullReply>(worker, request, `Cannot cull ${dir}`);
    } catch (error) {
      return { culled: 0, bytes: 0, error: messageOf(error) };
    } finally {
      worker.terminate();
    }
  }
}

/**
 * What the Workers of a session tell the main thread, and what follows from it.
 *
 * @module
 */
import { logger } from "../../base/log.ts";
import type { ImageRegistry } from "./image_registry.ts";
import type { MissHandler } from "./miss_handler.ts";
import type { FuseWorkerHandle } from "./worker_handle.ts";
import type { FromWorker } from "./worker_messages.ts";

const log = logger("mount", "fuse");

/** Receives the messages of all Workers of the session at `mountpoint`. */
export class WorkerReports {
  constructor(
    private readonly images: ImageRegistry,
    private readonly misses: MissHandler,
    private readonly mountpoint: string,
  ) {}

  /** Acts on a message. */
  receive(worker: FuseWorkerHandle, message: FromWorker): void {
    switch (message.kind) {
      case "miss":
        this.misses.handle(this.images.get(message.image), message, () => worker.release(message.slot));
        break;
      case "reached":
        this.images.get(message.image)?.image.blobs[message.index]?.reached?.(message.chunk);
        break;
      case "unreferenced":
        this.images.releaseIfUnused(this.images.get(message.image));
        break;
      case "damage": {
        const known = this.images.get(message.image);
        if (known !== undefined) this.misses.failures.damaged(known, message.operation, message.ino, message.message);
        break;
      }
      case "ended":
        if (message.message !== undefined) {
          log.error("a thread that answers the kernel failed", { mountpoint: this.mountpoint, cause: message.message });
        }
        break;
    }
  }
}

/**
 * Calls for layers: those for one layer run one after the other, those for different layers in parallel.
 *
 * @module
 */
import type { NydusGdError } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed_mutex.ts";
import { StoppableTasks } from "../base/stoppable_tasks.ts";
import { layerId } from "./record/layer_id.ts";

/** The calls of one store. */
export class LayerCalls {
  readonly #locks = new KeyedMutex<string>();
  readonly #tasks = new StoppableTasks();

  /** @param onEnded called at the end of every call, with the layer that it named */
  constructor(private readonly onEnded: (id: string) => void) {}

  /**
   * Runs `task` with exclusive access to its layer, after checking the id.
   *
   * @param signal ends the wait for other calls of the layer
   */
  exclusive<T>(id: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#tasks.run(async () => {
      layerId(id);
      return await this.#locks.run(id, () => task().finally(() => this.onEnded(id)), signal);
    });
  }

  /** Aborted when the store is closed. */
  get stopSignal(): AbortSignal {
    return this.#tasks.until();
  }

  /** Cancels what can be cancelled, and waits for the rest. Later calls fail. */
  async stop(reason: NydusGdError): Promise<void> {
    await this.#tasks.stop(reason);
  }
}

/**
 * The thread of watch_worker.ts, as the main thread sees it.
 *
 * @module
 */
import { startWorker, workerUrl } from "../../base/worker.ts";
import { Poster } from "../reads/posted.ts";
import type { FromWatcher, ToWatcher, WatchStart } from "./watch_messages.ts";

/** A thread that answers events from {@link WatchThread.serve} on. Disposing ends it, whatever it is doing. */
export class WatchThread implements Disposable {
  readonly #worker: Worker = startWorker(workerUrl(import.meta, "watch_worker.ts"), "fanotify");
  readonly #poster = new Poster<ToWatcher>();

  /** Posts a message, which the thread receives before it answers the next event. */
  send(message: ToWatcher): void {
    this.#poster.send(message);
  }

  /** Has it answer events. Once it is disposed of, `onMessage` is not called any more. */
  serve(start: Omit<WatchStart, "messages">, onMessage: (message: FromWatcher) => void): void {
    this.#worker.onmessage = ({ data }: MessageEvent<FromWatcher>) => onMessage(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      onMessage({ kind: "ended", message: event.message });
    };
    const messages = this.#poster.far;
    this.#worker.postMessage({ ...start, messages } satisfies WatchStart, [messages.port]);
  }

  [Symbol.dispose](): void {
    this.#worker.onmessage = null;
    this.#worker.onerror = (event) => event.preventDefault();
    this.#worker.terminate();
    this.#poster.close();
  }
}

/**
 * SIGINT and SIGTERM as an AbortSignal.
 *
 * The first signal asks the running action to clean up. A second one exits at once, since the cleanup may hang.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { EXIT } from "./failure.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Handles signals from construction until disposal. */
export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  readonly #listeners = SIGNALS.map((name) => [name, () => this.#receive(name)] as const);

  constructor() {
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  #receive(name: string): void {
    if (this.#controller.signal.aborted) Deno.exit(EXIT.interrupted);
    this.#controller.abort(new NydusGdError("interrupted", `Cannot finish: interrupted by ${name}`));
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}

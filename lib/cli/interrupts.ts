/**
 * SIGINT, SIGTERM and SIGHUP (the terminal is closed) as an AbortSignal.
 *
 * The first signal asks the running action to clean up. A second SIGINT or SIGTERM exits at once, since the cleanup may
 * hang; SIGHUP is no such demand, as a closed terminal sends several, and systemd one after SIGTERM. SIGHUP does nothing
 * where it was ignored at the start, as under nohup(1). The runtime does not leave it ignored: half a second after its
 * start there is no trace of it, which is late enough except on a busy machine. So the launcher passes it on.
 *
 * @module
 */
import { ignoresSignal } from "../../ffi/procfs.ts";
import { NydusGdError } from "../base/errors.ts";
import { EXIT } from "./failure.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Number of SIGHUP: signal(7). */
const SIGHUP = 1;

/** Handles signals from construction until disposal. */
export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  readonly #isHangupIgnored = Deno.env.get("NYDUS_GD_NOHUP") === "1" || ignoresSignal(SIGHUP);
  #isAsked = false;
  readonly #listeners = [
    ...SIGNALS.map((name) => [name, () => this.#receive(name)] as const),
    // a write beyond the limit of file sizes then fails with EFBIG instead of ending the program
    ["SIGXFSZ", () => {}] as const,
  ];

  constructor() {
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  #receive(name: typeof SIGNALS[number]): void {
    if (name === "SIGHUP" && this.#isHangupIgnored) return;
    if (name !== "SIGHUP") {
      if (this.#isAsked) Deno.exit(EXIT.interrupted);
      this.#isAsked = true;
    }
    this.#controller.abort(new NydusGdError("interrupted", `Cannot finish: interrupted by ${name}`));
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}

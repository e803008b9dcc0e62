/**
 * Waits until the rest of an image may be fetched: nobody waits for data, and nobody else wants the processors.
 *
 * Decompression and digests take a processor's time, which on a small machine the programs that start meanwhile lack.
 * So a prefetch takes a break before each piece for which its thread had to wait longer than it ran. On an idle machine
 * it never does; on one that is always busy it goes on, a few megabytes a second.
 *
 * @module
 */
import { delay } from "../../base/abort.ts";
import type { Crowding } from "../../base/crowding.ts";

/** Length of a break, milliseconds: several times what a piece takes. */
const BREAK_MS = 200;

/** What a {@link SpareCapacity} asks. */
export interface CapacityUsers {
  /** Resolves once no reader has waited for `quietMs` milliseconds. */
  readonly whenQuiet: (quietMs: number, signal: AbortSignal) => Promise<void>;
  /** Whether this thread has to share its processor. Disposed with the {@link SpareCapacity}. */
  readonly crowding: Pick<Crowding, "isCrowded"> & Disposable;
}

/** The link and the processors, as one prefetch sees them. */
export class SpareCapacity implements Disposable {
  constructor(private readonly users: CapacityUsers) {}

  /**
   * Resolves once no reader has waited for `quietMs` milliseconds, {@link BREAK_MS} later if the processors are scarce.
   *
   * @throws {NydusGdError} the signal's reason when it is aborted
   */
  async wait(quietMs: number, signal: AbortSignal): Promise<void> {
    await this.users.whenQuiet(quietMs, signal);
    if (!this.users.crowding.isCrowded(performance.now())) return;
    await delay(BREAK_MS, signal);
  }

  [Symbol.dispose](): void {
    this.users.crowding[Symbol.dispose]();
  }
}

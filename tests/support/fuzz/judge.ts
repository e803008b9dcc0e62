/**
 * Runs inputs on a target and decides which are faults.
 *
 * @module
 */
import { quietLogs } from "../quiet_logs.ts";
import type { AllocationMeter } from "./allocations.ts";
import { Random } from "./random.ts";
import { type FuzzRun, type FuzzTarget, type Inputs, isRefusal } from "./target.ts";

/** Allowance of an input in typed arrays regardless of its length, bytes. */
const BASE_ALLOCATION = 32 << 20;
const PER_BYTE = 64;

/** An open target. */
export class FuzzJudge implements AsyncDisposable {
  /** Number of inputs that the parser accepted without an error. */
  accepted = 0;

  private constructor(
    private readonly target: FuzzTarget,
    private readonly inputs: Inputs<Uint8Array | string>,
    private readonly run: FuzzRun<Uint8Array | string>,
    private readonly meter: AllocationMeter,
  ) {}

  static async open(target: FuzzTarget, scratch: string, meter: AllocationMeter): Promise<FuzzJudge> {
    await quietLogs();
    return new FuzzJudge(target, await target.inputs(), await target.open(scratch), meter);
  }

  /** Returns the input at a position. */
  input(seed: number, position: number): Uint8Array | string {
    return this.inputs.make(new Random(seed, position));
  }

  /** Runs one input; returns undefined if it passes, otherwise the fault. A promise only if the target returns one. */
  judge(input: Uint8Array | string): unknown {
    const { target, meter } = this;
    meter.begin((target.allocation ?? ((length) => BASE_ALLOCATION + PER_BYTE * length))(input.length));
    let outcome: unknown;
    try {
      outcome = this.run(input);
    } catch (error) {
      return this.#refused(error);
    }
    return outcome instanceof Promise
      ? outcome.then(() => this.#took(), (error) => this.#refused(error))
      : this.#took();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run[Symbol.asyncDispose]?.();
  }

  #took(): unknown {
    this.accepted++;
    return this.#cost();
  }

  #refused(error: unknown): unknown {
    return this.#cost() ?? (isRefusal(this.target, error) ? undefined : error ?? new Error("undefined was thrown"));
  }

  #cost(): unknown {
    try {
      this.meter.end();
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

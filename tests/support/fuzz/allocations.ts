/**
 * Counts the bytes of buffers and typed arrays as they are created, and refuses excessive requests beforehand.
 *
 * It replaces constructors of this process, so it must be installed before anything stores a reference to one. Views
 * and copies of existing buffers are not counted: they are no larger than these.
 *
 * @module
 */

const NAMES = [
  ...["ArrayBuffer", "SharedArrayBuffer", "Uint8Array", "Uint16Array", "Uint32Array", "Int32Array"],
  ...["Float64Array", "BigUint64Array"],
] as const;

/** An allocation beyond what an input may cost. */
class HugeAllocation extends Error {
  override readonly name = "HugeAllocation";
}

/** The counter of one process. */
export class AllocationMeter {
  #left = Infinity;
  #limit = Infinity;
  /** The allocation beyond the limit; kept, as a parser may have caught the exception. */
  #excess: HugeAllocation | undefined;

  /** Replaces the constructors, once. */
  static install(): AllocationMeter {
    const meter = new AllocationMeter();
    const scope = globalThis as unknown as Record<string, new (...args: unknown[]) => object>;
    for (const name of NAMES) {
      const original = scope[name];
      if (original === undefined) continue;
      const unit = (original as unknown as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
      const counting: typeof original = new Proxy(original, {
        construct(target, args: unknown[], newTarget) {
          if (typeof args[0] === "number") meter.#take(args[0] * unit, name);
          return Reflect.construct(target, args, newTarget === counting ? target : newTarget);
        },
      });
      scope[name] = counting;
    }
    return meter;
  }

  private constructor() {}

  /** Resets the counter for an input that may allocate `limit` bytes. */
  begin(limit: number): void {
    this.#left = limit;
    this.#limit = limit;
    this.#excess = undefined;
  }

  /** @throws {HugeAllocation} if the input exceeded its limit */
  end(): void {
    this.#left = Infinity;
    if (this.#excess !== undefined) throw this.#excess;
  }

  #take(bytes: number, what: string): void {
    this.#left -= bytes;
    if (this.#left >= 0) return;
    this.#excess ??= new HugeAllocation(`Cannot allocate ${what} of ${bytes} bytes: an input may cost ${this.#limit}`);
    throw this.#excess;
  }
}

/**
 * Counts the bytes of buffers and typed arrays that are made, and stops what asks for too many before they are there.
 *
 * The constructors of this process are replaced, so it has to be installed before anything keeps one of them. Views and
 * copies of what exists are not counted: they are no larger than it.
 *
 * @module
 */

const NAMES = [
  ...["ArrayBuffer", "SharedArrayBuffer", "Uint8Array", "Uint16Array", "Uint32Array", "Int32Array"],
  ...["Float64Array", "BigUint64Array"],
] as const;

/** More memory than an input is worth. */
export class HugeAllocation extends Error {
  override readonly name = "HugeAllocation";
}

/** The count of one process. */
export class AllocationMeter {
  #left = Infinity;
  #limit = Infinity;
  /** What went beyond the limit: a parser may have caught the exception. */
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

  /** Starts anew for an input that may cost `limit` bytes. */
  begin(limit: number): void {
    this.#left = limit;
    this.#limit = limit;
    this.#excess = undefined;
  }

  /** @throws {HugeAllocation} when the input cost more than it may */
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

/**
 * Reusable buffers for long responses: the kernel provides fresh memory page by page, which takes longer than to fill
 * it.
 *
 * Buffers are shared memory: other threads decode the start of a response while its end is still in flight. A buffer is
 * reused only after its borrower has disposed it, when nothing accesses it any more.
 *
 * @module
 */

/** Minimum length of a response that uses a pooled buffer, bytes. */
const MIN_BYTES = 256 * 1024;

/** Maximum free buffers kept. */
const MAX_FREE = 4;

/** Buffers for the responses to one request. Disposed when nothing reads or writes them any more. */
export interface BorrowedMemory extends Disposable {
  /** Returns memory for one response of `bytes`, uninitialised. */
  take(bytes: number): Uint8Array<SharedArrayBuffer>;
}

/** The buffers of one cache. */
export class ResponseBuffers implements Disposable {
  readonly #free: SharedArrayBuffer[] = [];
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param pieceBytes buffer size: maximum length of a response that uses a pooled buffer
   * @param idleMs milliseconds without use after which free buffers are released
   */
  constructor(private readonly pieceBytes: number, private readonly idleMs: number) {}

  borrow(): BorrowedMemory {
    const taken: SharedArrayBuffer[] = [];
    let isOver = false;
    return {
      take: (bytes) => {
        if (isOver || bytes < MIN_BYTES || bytes > this.pieceBytes) return new Uint8Array(new SharedArrayBuffer(bytes));
        const piece = this.#free.pop() ?? new SharedArrayBuffer(this.pieceBytes);
        taken.push(piece);
        return new Uint8Array(piece, 0, bytes);
      },
      [Symbol.dispose]: () => {
        isOver = true;
        this.#recycle(taken.splice(0));
      },
    };
  }

  /** Number of free buffers. */
  get free(): number {
    return this.#free.length;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#idleTimer);
    this.#free.length = 0;
  }

  #recycle(pieces: readonly SharedArrayBuffer[]): void {
    if (pieces.length === 0) return;
    this.#free.push(...pieces.slice(0, Math.max(0, MAX_FREE - this.#free.length)));
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#free.length = 0, this.idleMs);
    Deno.unrefTimer(this.#idleTimer);
  }
}

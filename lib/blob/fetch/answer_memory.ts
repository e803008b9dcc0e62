/**
 * The memory that long answers arrive in, used again and again: the kernel hands out new memory page by page, which
 * takes longer than to fill it.
 *
 * It is shared: threads decode the begin of an answer while its end is on its way. A piece goes to the next answer only
 * when nobody looks at it any more, which is when who borrowed it says so.
 *
 * @module
 */

/** Shorter answers have memory of their own, bytes. */
const MIN_BYTES = 256 * 1024;

/** Pieces that are kept for the next answers. */
const MAX_FREE = 4;

/** What the answers to one request arrive in. Disposed when nothing reads or writes it any more. */
export interface BorrowedMemory extends Disposable {
  /** Memory for one answer of `bytes`, filled with anything. */
  take(bytes: number): Uint8Array<SharedArrayBuffer>;
}

/** The pieces of one cache. */
export class AnswerMemory implements Disposable {
  readonly #free: SharedArrayBuffer[] = [];
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param pieceBytes of the longest answer that has a piece
   * @param idleMs milliseconds without use after which pieces are let go
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
        this.#giveBack(taken.splice(0));
      },
    };
  }

  /** Pieces that nobody has. */
  get free(): number {
    return this.#free.length;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#idleTimer);
    this.#free.length = 0;
  }

  #giveBack(pieces: readonly SharedArrayBuffer[]): void {
    if (pieces.length === 0) return;
    this.#free.push(...pieces.slice(0, Math.max(0, MAX_FREE - this.#free.length)));
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#free.length = 0, this.idleMs);
    Deno.unrefTimer(this.#idleTimer);
  }
}

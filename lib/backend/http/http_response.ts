/**
 * An HTTP response: its head, and a body that can be read once, in one of several ways.
 *
 * @module
 */
import { concatenate } from "../../base/bytes.ts";
import type { Growth, ReadProgress } from "../blob_source.ts";
import type { BodyReader, ResponseBody } from "./response_body.ts";
import type { ResponseHead } from "./response_parser.ts";
import { invalidResponse, type TransferError } from "./transfer_error.ts";

/** Maximum length of a discarded body that is drained to keep the connection; above it, closing is cheaper. */
const DRAIN_BYTES = 64 * 1024;

/** Maximum bytes of one read into the caller's memory, so that other connections get their turn. */
const PLACED_BYTES = 256 * 1024;

/**
 * The head and body of a response. The holder must consume the body: `exact`, `fill`, `slice`, `text`, `bytes`,
 * `each`, `pieces` or `discard`.
 */
export class HttpResponse {
  readonly status: number;

  /** @param broken rejects when the exchange fails: timeout, abort, connection lost */
  constructor(
    /** The request's URL. */
    readonly url: URL,
    /** The responding server in messages: its host, and the proxy before it. */
    readonly server: string,
    private readonly head: ResponseHead,
    private readonly body: ResponseBody,
    /** False for the response to a HEAD, whose Content-Length does not describe its own body. */
    private readonly hasBody: boolean,
    private readonly broken: Promise<never>,
  ) {
    this.status = head.status;
  }

  /** Returns a header's value by its lower-case name; repeated headers are joined with commas. */
  header(name: string): string | undefined {
    return this.head.headers.get(name);
  }

  /** Content-Length; undefined if absent or malformed. */
  get contentLength(): number | undefined {
    const value = this.header("content-length");
    return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
  }

  /** Reads the body, which must be exactly `length` bytes long. */
  exact(length: number, growth: Growth = {}): Promise<Uint8Array> {
    const promised = this.contentLength;
    if (promised !== undefined && promised !== length) {
      this.body.giveUp();
      return Promise.reject(invalidResponse(`the answer has ${promised} bytes, not ${length}`));
    }
    return this.#collect(0, length, false, growth);
  }

  /**
   * Reads the body, which must fill `out` exactly. Bytes are copied there, unlike with {@link exact}: no read in
   * progress refers to `out`, so it may be unmapped after a failure.
   */
  async fill(out: Uint8Array, onProgress: ReadProgress | undefined): Promise<void> {
    let filled = 0;
    await this.each((piece) => {
      if (filled + piece.length > out.length) {
        throw invalidResponse(`the answer is longer than the ${out.length} bytes asked for`);
      }
      out.set(piece, filled);
      filled += piece.length;
      onProgress?.(out, filled);
    });
    if (filled < out.length) throw invalidResponse(`the answer ended after ${filled} of ${out.length} bytes`);
  }

  /** Reads `length` bytes at `offset` of the body and discards the rest without waiting for it. */
  slice(offset: number, length: number, growth: Growth): Promise<Uint8Array> {
    return this.#collect(offset, length, true, growth);
  }

  /** Reads the whole body as text. Fails if it is longer than `maxBytes`. */
  async text(maxBytes: number): Promise<string> {
    return new TextDecoder().decode(await this.bytes(maxBytes));
  }

  /** Reads the whole body. Fails if it is longer than `maxBytes`. */
  async bytes(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const pieces: Uint8Array[] = [];
    let total = 0;
    await this.#consume((piece) => {
      total += piece.length;
      if (total > maxBytes) throw invalidResponse(`the answer is longer than ${maxBytes} bytes`);
      pieces.push(piece);
      return true;
    });
    return concatenate(pieces);
  }

  /**
   * Passes each piece of a body of any length to `take` as it arrives.
   *
   * @throws what `take` throws, after discarding the rest
   */
  each(take: (piece: Uint8Array) => void): Promise<void> {
    return this.#consume((piece) => {
      take(piece);
      return true;
    });
  }

  /**
   * Yields the body as it arrives. The connection waits while pieces are used, without a time limit.
   *
   * @throws {TransferError} if the connection is lost
   */
  async *pieces(): AsyncGenerator<Uint8Array> {
    let seen = 0;
    this.broken.catch(() => this.body.end(false));
    for (let pieces = await this.body.arrived(); pieces.length > 0; pieces = await this.body.arrived()) {
      for (const piece of pieces) {
        seen += piece.length;
        yield piece;
      }
    }
    if (!this.body.isWhole) await Promise.race([this.broken, Promise.reject(lostAfter(seen))]);
  }

  /** Discards the body, but keeps the connection if draining it is cheap. Never fails. */
  async discard(): Promise<void> {
    const length = this.hasBody ? this.contentLength : 0;
    if (length === undefined || length > DRAIN_BYTES) {
      this.body.giveUp();
      return;
    }
    await this.#consume(() => true).catch(() => this.body.giveUp());
  }

  async #collect(
    offset: number,
    length: number,
    mayGoOn: boolean,
    { onProgress, memory }: Growth,
  ): Promise<Uint8Array> {
    const out = memory?.(length) ?? new Uint8Array(length);
    const end = offset + length;
    let seen = 0;
    const place = () => seen < offset ? undefined : out.subarray(seen - offset, seen - offset + PLACED_BYTES);
    await this.#consume((piece) => {
      const from = Math.max(0, offset - seen);
      const to = Math.min(piece.length, end - seen);
      if (from < to) put(piece.subarray(from, to), out, seen + from - offset);
      seen += piece.length;
      if (seen > end && !mayGoOn) throw invalidResponse(`the answer is longer than the ${length} bytes asked for`);
      if (from < to) onProgress?.(out, Math.min(seen, end) - offset);
      return !mayGoOn || seen < end;
    }, place);
    if (seen < end) throw invalidResponse(`the answer ended after ${seen} of ${end} bytes`);
    return out;
  }

  /** Passes pieces to `take` until the body ends or `take` returns false; then discards the rest. */
  async #consume(take: (piece: Uint8Array) => boolean, place?: BodyReader["place"]): Promise<void> {
    const { body } = this;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let seen = 0, ended = false;
    body.read({
      place: () => ended ? undefined : place?.(),
      data: (piece) => {
        if (ended) return;
        seen += piece.length;
        try {
          if (take(piece)) return;
          resolve();
        } catch (error) {
          reject(error);
        }
        ended = true;
        body.giveUp();
      },
      end: (whole) => {
        if (whole) resolve();
        else reject(lostAfter(seen));
      },
    });
    try {
      await Promise.race([promise, this.broken]);
    } finally {
      ended = true; // late data is dropped: its memory may be in use elsewhere
    }
  }
}

function lostAfter(bytes: number): TransferError {
  return invalidResponse(`the connection was lost after ${bytes} bytes of the answer`);
}

/** Copies `piece` to offset `at` of `out`, unless it was read directly into that place. */
function put(piece: Uint8Array, out: Uint8Array, at: number): void {
  if (piece.buffer !== out.buffer || piece.byteOffset !== out.byteOffset + at) out.set(piece, at);
}

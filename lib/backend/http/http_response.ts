/**
 * The answer to one request: its head, and a body that is read in exactly one way, once.
 *
 * @module
 */
import { concatenate } from "../../base/bytes.ts";
import type { Growth } from "../blob_source.ts";
import type { AnswerBody, BodyReader } from "./answer_body.ts";
import type { ResponseHead } from "./response_parser.ts";
import { brokenAnswer } from "./transfer_error.ts";

/** A body of at most this many bytes is read to its end to keep the connection; beyond, closing it is cheaper. */
const DRAIN_BYTES = 64 * 1024;

/** Most bytes that are read at a time to where they are wanted: others are to be heard in between. */
const PLACED_BYTES = 256 * 1024;

/** Head and body of an answer. Whoever has it must consume the body: `exact`, `slice`, `text`, `each` or `discard`. */
export class HttpResponse {
  readonly status: number;

  /** @param broken rejects when the exchange fails: timeout, abort, connection lost */
  constructor(
    /** Where it came from. */
    readonly url: URL,
    /** Who answered, for messages: its host, and the proxy before it. */
    readonly server: string,
    private readonly head: ResponseHead,
    private readonly body: AnswerBody,
    /** False for the answer to a HEAD, whose Content-Length is that of another body. */
    private readonly hasBody: boolean,
    private readonly broken: Promise<never>,
  ) {
    this.status = head.status;
  }

  /** A header's value, by its lower-case name; several headers of one name are joined with commas. */
  header(name: string): string | undefined {
    return this.head.headers.get(name);
  }

  /** Content-Length; undefined when there is none or it is no number. */
  get contentLength(): number | undefined {
    const value = this.header("content-length");
    return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
  }

  /** The body, which must be exactly `length` bytes long. */
  exact(length: number, growth: Growth = {}): Promise<Uint8Array> {
    const promised = this.contentLength;
    if (promised !== undefined && promised !== length) {
      this.body.giveUp();
      return Promise.reject(brokenAnswer(`the answer has ${promised} bytes, not ${length}`));
    }
    return this.#collect(0, length, false, growth);
  }

  /** `length` bytes from `offset` of a body that may go on; what follows is not waited for. */
  slice(offset: number, length: number, growth: Growth = {}): Promise<Uint8Array> {
    return this.#collect(offset, length, true, growth);
  }

  /** The whole body as text. One that is longer than `maxBytes` is an error. */
  async text(maxBytes: number): Promise<string> {
    return new TextDecoder().decode(await this.bytes(maxBytes));
  }

  /** The whole body, of at most `maxBytes`. */
  async bytes(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const pieces: Uint8Array[] = [];
    let total = 0;
    await this.#consume((piece) => {
      total += piece.length;
      if (total > maxBytes) throw brokenAnswer(`the answer is longer than ${maxBytes} bytes`);
      pieces.push(piece);
      return true;
    });
    return concatenate(pieces);
  }

  /**
   * Hands each piece of a body of any length to `take`, as it comes.
   *
   * @throws what `take` throws; the rest is then given up
   */
  each(take: (piece: Uint8Array) => void): Promise<void> {
    return this.#consume((piece) => {
      take(piece);
      return true;
    });
  }

  /** Gives the body up, keeping the connection where that is cheap. Never fails: nobody needs these bytes. */
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
      if (seen > end && !mayGoOn) throw brokenAnswer(`the answer is longer than the ${length} bytes asked for`);
      if (from < to) onProgress?.(out, Math.min(seen, end) - offset);
      return !mayGoOn || seen < end;
    }, place);
    if (seen < end) throw brokenAnswer(`the answer ended after ${seen} of ${end} bytes`);
    return out;
  }

  /** Feeds each piece to `take` until the end, or until it returns false; the rest is then given up. */
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
        else reject(brokenAnswer(`the connection was lost after ${seen} bytes of the answer`));
      },
    });
    try {
      await Promise.race([promise, this.broken]);
    } finally {
      ended = true; // what arrives yet is nobody's: the memory that it was for may have another use
    }
  }
}

/** Copies `piece` to `at` of `out`, unless it was read to there. */
function put(piece: Uint8Array, out: Uint8Array, at: number): void {
  if (piece.buffer !== out.buffer || piece.byteOffset !== out.byteOffset + at) out.set(piece, at);
}

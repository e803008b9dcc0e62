/**
 * Packs with gzip in a Worker while the calling thread makes the data.
 *
 * @module
 */
import { GrowingColumn } from "../../rafs/growing.ts";
import type { Pack } from "../gzip_parts.ts";
import type { PackedParts } from "./compress_worker.ts";

/** Bytes sent to the Worker at a time; a part must not be longer. */
const MESSAGE_BYTES = 1 << 20;

/** Messages in flight, which bounds memory. */
const IN_FLIGHT = 4;

/** What a Worker does with parts of a stream: resolves with the output so far, and the memory of the parts. */
export type SendParts = (
  parts: PackedParts,
  place: { readonly isFirst: boolean; readonly isLast: boolean },
) => Promise<{ readonly packed: Uint8Array; readonly room: Uint8Array<ArrayBuffer> }>;

/** Returns a function that packs one stream in a Worker, which gets ready for it now. */
export function packInWorker(send: SendParts): Pack {
  const begun = send({ bytes: new Uint8Array(0), ends: new Uint32Array(0) }, { isFirst: true, isLast: false });
  begun.catch(() => {}); // reported when awaited
  return async (parts) => {
    const stream = new PartStream(send);
    for (const part of parts) await stream.add(part);
    await begun;
    return await stream.end();
  };
}

/** A stream of which the Worker has the first messages. */
class PartStream {
  readonly #answers: ReturnType<SendParts>[] = [];
  readonly #packed: Uint8Array[] = [];
  readonly #room: Uint8Array<ArrayBuffer>[] = [];
  #bytes = new Uint8Array(MESSAGE_BYTES);
  readonly #ends = GrowingColumn.u32();

  constructor(private readonly send: SendParts) {}

  /** Adds a copy of the part. */
  async add(part: Uint8Array): Promise<void> {
    let end = this.#filled + part.length;
    if (end > this.#bytes.length) {
      this.#post(false);
      await this.#settle(IN_FLIGHT);
      this.#bytes = this.#room.pop() ?? new Uint8Array(MESSAGE_BYTES);
      end = part.length;
    }
    this.#bytes.set(part, end - part.length);
    this.#ends.push(end);
  }

  /** Returns the output of the whole stream. */
  async end(): Promise<Uint8Array[]> {
    this.#post(true);
    await this.#settle(0);
    return this.#packed;
  }

  get #filled(): number {
    return this.#ends.length === 0 ? 0 : this.#ends.at(this.#ends.length - 1);
  }

  #post(isLast: boolean): void {
    const answer = this.send({ bytes: this.#bytes, ends: this.#ends.values.slice() }, { isFirst: false, isLast });
    answer.catch(() => {}); // reported when awaited
    this.#answers.push(answer);
    this.#ends.clear();
  }

  /** Waits until at most `count` messages are in flight. */
  async #settle(count: number): Promise<void> {
    while (this.#answers.length > count) {
      const { packed, room } = await (this.#answers.shift() as ReturnType<SendParts>);
      this.#packed.push(packed);
      this.#room.push(room);
    }
  }
}

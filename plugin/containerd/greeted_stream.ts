/**
 * A greeted connection as the HTTP/2 library expects one.
 *
 * The library does not know of the greeting (greeter.ts). A client acknowledges all settings in order, so the library is
 * not shown the first acknowledgement: it would end a connection that acknowledges more than it has sent.
 *
 * Source: RFC 9113, sections 3.4 (prefaces), 4.1 (frames), 6.5 (SETTINGS).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import { compose, type Duplex, Transform, type TransformCallback } from "node:stream";
import type { Fd } from "../../ffi/fd.ts";

/** The client sends "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", then frames. */
const CLIENT_PREFACE_BYTES = 24;
/** Header of a frame: length (u24, of what follows), type (u8), flags (u8), stream (u32). */
const HEADER = { SIZE: 9, length: 0, type: 3, flags: 4 } as const;
const SETTINGS = 0x4;
const ACK = 0x1;

/** The connection for a server: a stream that ends with it. */
export function greetedStream(connection: Fd): Duplex {
  const socket = new Socket({ fd: connection.release(), readable: true, writable: true });
  return compose(socket, new WithoutFirstAck());
}

/** Passes on what a client sends, without its first acknowledgement of settings. */
export class WithoutFirstAck extends Transform {
  /** Bytes to pass on before the next header; no end to them after the acknowledgement. */
  #ahead: number = CLIENT_PREFACE_BYTES;
  /** A header that has not arrived as a whole. */
  #header = Buffer.alloc(0);

  override _transform(chunk: Buffer, _encoding: string, callback: TransformCallback): void {
    for (let rest = chunk; rest.length > 0;) {
      const isHeader = this.#ahead === 0;
      const piece = rest.subarray(0, isHeader ? HEADER.SIZE - this.#header.length : this.#ahead);
      rest = rest.subarray(piece.length);
      if (isHeader) this.#takeHeader(piece);
      else {
        this.#ahead -= piece.length;
        this.push(piece);
      }
    }
    callback();
  }

  #takeHeader(piece: Buffer): void {
    const header = Buffer.concat([this.#header, piece]);
    this.#header = header;
    if (header.length < HEADER.SIZE) return;
    this.#header = Buffer.alloc(0);
    if (header[HEADER.type] === SETTINGS && ((header[HEADER.flags] ?? 0) & ACK) !== 0) this.#ahead = Infinity;
    else {
      this.#ahead = header.readUIntBE(HEADER.length, 3);
      this.push(header);
    }
  }
}

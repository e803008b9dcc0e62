/**
 * Sockets that read directly into memory of the consumer: no allocation per piece, no copy, no stream in between.
 *
 * node:net and node:tls ask for a buffer before each read (option `onread`); it may be shared memory. The data is
 * announced by the event "data", as with any socket. The buffer of a read is chosen when the preceding read is
 * announced, so memory that was handed out must stay valid until the next announcement or until the socket is
 * destroyed.
 *
 * @module
 */
import type { OnReadOpts, Socket } from "node:net";

/**
 * Size of the buffer for a read without a placement. A response that arrives in one piece gives no estimate of the link
 * (lib/blob/fetch/link_estimate.ts). With a smaller buffer two short responses would, and neighbouring chunks would be
 * fetched from the third read on.
 */
const UNPLACED_BYTES = 64 * 1024;

/** Returns the memory for the next bytes; undefined: no preference. */
export type Place = () => Uint8Array | undefined;

/** The placement of each socket made by {@link placed}. */
const wanted = new WeakMap<Socket, { place?: Place | undefined }>();

/** Makes a socket by calling `connect` with the `onread` option to use. */
export function placed(connect: (onread: OnReadOpts) => Socket): Socket {
  const reader: { place?: Place | undefined } = {};
  const buffer = () => {
    const place = reader.place?.();
    return place === undefined || place.length === 0 ? new Uint8Array(UNPLACED_BYTES) : place;
  };
  const callback = (bytes: number, buffer: Uint8Array): boolean => {
    socket.emit("data", buffer.subarray(0, bytes));
    return true; // keep reading; consumers pause the socket themselves
  };
  const socket = connect({ buffer, callback });
  wanted.set(socket, reader);
  return socket;
}

/**
 * Directs bytes to `place`, starting with the read after the next. No effect on a socket not made by {@link placed}.
 */
export function placeReads(socket: Socket, place: Place | undefined): void {
  const reader = wanted.get(socket);
  if (reader !== undefined) reader.place = place;
}

/**
 * Connections whose bytes are read to where they are wanted: no memory for each piece, no copy, no stream between.
 *
 * node:net and node:tls ask for a buffer before each read (their option `onread`), which may be shared memory. What came
 * is told by the event "data", as by any socket. The buffer for a read is fixed when the read before has been told of; so
 * a place must stay good until the connection says what came, or is destroyed.
 *
 * @module
 */
import type { OnReadOpts, Socket } from "node:net";

/**
 * Bytes of a buffer for what nobody has a place for. What comes in one piece tells nothing of the link
 * (lib/blob/fetch/link_estimate.ts): with less, two short answers would, and neighbours go along with the third read.
 */
const UNPLACED_BYTES = 64 * 1024;

/** Where the next bytes are wanted; undefined: anywhere. */
export type Place = () => Uint8Array | undefined;

/** Of sockets that were made here. */
const wanted = new WeakMap<Socket, { place?: Place | undefined }>();

/** A connection that `connect` makes with the option `onread` that it is given. */
export function placed(connect: (onread: OnReadOpts) => Socket): Socket {
  const reader: { place?: Place | undefined } = {};
  const buffer = () => {
    const place = reader.place?.();
    return place === undefined || place.length === 0 ? new Uint8Array(UNPLACED_BYTES) : place;
  };
  const callback = (bytes: number, buffer: Uint8Array): boolean => {
    socket.emit("data", buffer.subarray(0, bytes));
    return true; // go on; who wants to wait pauses the socket
  };
  const socket = connect({ buffer, callback });
  wanted.set(socket, reader);
  return socket;
}

/** From the read after the next on, bytes go to `place`. Of no effect on a socket that was not made here. */
export function placeReads(socket: Socket, place: Place | undefined): void {
  const reader = wanted.get(socket);
  if (reader !== undefined) reader.place = place;
}

/**
 * Greets clients of the snapshotter before there is a server for them.
 *
 * A client of gRPC waits for the first frame of a new connection only for a while, containerd for one second, and fails
 * the calls that need the connection otherwise. After that frame it waits as long as its calls may take. The frame may be
 * empty settings, and the HTTP/2 library sends settings of its own later, as a server may at any time
 * (greeted_stream.ts). So whoever has connected to the socket of an earlier daemon is greeted as the very first thing:
 * this module loads nothing but system calls.
 *
 * Source: RFC 9113, section 3.4.
 *
 * @module
 */
import { isErrno, SyscallError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { inheritedDescriptors } from "../../ffi/libsystemd.ts";
import { accept } from "../../ffi/sys_socket.ts";
import { write } from "../../ffi/unistd.ts";

/** Beginning of the names under which sockets are stored (kept_socket.ts). */
export const STORED_PREFIX = "snapshotter-";

/** A frame of empty settings: length (u24), type SETTINGS, no flags, stream (u32). */
export const GREETING = Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0);

const greeted = new Map<Fd, Fd[]>();

/** Greets the clients that wait at sockets of an earlier daemon. */
export function greetWaiting(): void {
  for (const [name, socket] of inheritedDescriptors()) {
    if (name.startsWith(STORED_PREFIX)) greeted.set(socket, acceptSome(socket));
  }
}

/** Returns the connections of `socket` that were greeted already. The caller owns them. */
export function takeGreeted(socket: Fd): Fd[] {
  const connections = greeted.get(socket) ?? [];
  greeted.delete(socket);
  return connections;
}

/** Accepts the connections that wait, and greets each. @throws as {@link accept} */
export function* acceptGreeted(socket: Fd): Generator<Fd> {
  for (let connection = accept(socket); connection !== undefined; connection = accept(socket)) {
    try {
      write(connection, GREETING);
    } catch (error) {
      connection[Symbol.dispose]();
      if (!isErrno(error, "EPIPE", "ECONNRESET")) throw error;
      continue; // its client has given up
    }
    yield connection;
  }
}

/** Like {@link acceptGreeted}; a failure is left to the listener, which tries again. */
function acceptSome(socket: Fd): Fd[] {
  const connections: Fd[] = [];
  try {
    for (const connection of acceptGreeted(socket)) connections.push(connection);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
  }
  return connections;
}

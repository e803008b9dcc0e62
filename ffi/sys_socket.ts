/**
 * Listening Unix sockets as descriptors, which can be kept beyond the process; the runtime's own cannot.
 *
 * Source: sys/socket.h and sys/un.h of glibc 2.36, unix(7), accept(2).
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";
import { Fd } from "./fd.ts";
import { check, errno, failure, loadLibc, show } from "./libc.ts";
import { POLL, poll } from "./poll.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** Connections that may wait to be accepted; the kernel limits it to net.core.somaxconn. */
const BACKLOG = 4096;

/** struct sockaddr_un: byte offsets. */
const SOCKADDR_UN = { SIZE: 110, family: 0, path: 2 } as const;
/** Maximum bytes of a socket's path, without its NUL. */
export const MAX_SOCKET_PATH_BYTES = SOCKADDR_UN.SIZE - SOCKADDR_UN.path - 1;

const libc = loadLibc({
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" }, // int socket(int domain, int type, int protocol)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" }, // int bind(int, const struct sockaddr *, socklen_t)
  listen: { parameters: ["i32", "i32"], result: "i32" }, // int listen(int, int backlog)
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" }, // int accept4(int, NULL, NULL, int flags)
});

/** Creates a socket at `path` that listens. It does not block, and is closed in other programs. */
export function listenUnix(path: string): Fd {
  const address = addressOf(path);
  const socket = Fd.own(check(libc().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket", path));
  try {
    check(libc().bind(socket.raw, address, address.length), "bind", path);
    check(libc().listen(socket.raw, BACKLOG), "listen", path);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

function addressOf(path: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(path);
  if (name.length > MAX_SOCKET_PATH_BYTES) throw new SyscallError("bind", ERRNO.ENAMETOOLONG, show(path));
  const address = new Uint8Array(SOCKADDR_UN.SIZE);
  new DataView(address.buffer).setUint16(SOCKADDR_UN.family, AF_UNIX, true);
  address.set(name, SOCKADDR_UN.path);
  return address;
}

/**
 * Accepts a connection, which does not block; undefined if none waits, also if the socket is one that blocks.
 *
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM, and others after which it may work again
 */
export function accept(socket: Fd): Fd | undefined {
  while (poll([{ fd: socket, events: POLL.IN }], 0)[0] !== 0) {
    const connection = libc().accept4(socket.raw, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) return Fd.own(connection);
    if (errno() === ERRNO.EAGAIN) break;
    if (errno() !== ERRNO.EINTR && errno() !== ERRNO.ECONNABORTED) throw failure("accept", socket.raw);
  }
  return undefined;
}

/**
 * The service manager's side of NOTIFY_SOCKET: messages of programs, and the descriptors that they store.
 *
 * Source: sd_notify(3), unix(7), recvmsg(2); struct msghdr and cmsghdr of 64-bit Linux.
 *
 * @module
 */
import { Fd } from "../../../ffi/fd.ts";
import { check, cstring, loadLibc } from "../../../ffi/libc.ts";
import { POLL, pollNonblocking } from "../../../ffi/poll.ts";
import { PATIENCE_MS } from "../until.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSGHDR = { SIZE: 56, iov: 16, iovCount: 24, control: 32, controlLength: 40 } as const;
const CMSGHDR_SIZE = 16;
const libc = loadLibc({
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" }, // int socket(int domain, int type, int protocol)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" }, // int bind(int, const struct sockaddr *, socklen_t)
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" }, // ssize_t recvmsg(int, struct msghdr *, int)
});

/** A message and the descriptor sent with it. */
export interface Notice {
  /** Lines `KEY=value`. */
  readonly text: string;
  readonly fd: Fd | undefined;
}

/** The service manager's end of the socket. Disposing removes it. */
export class NotifySocket implements Disposable {
  private constructor(readonly path: string, private readonly socket: Fd) {}

  static bind(path: string): NotifySocket {
    const socket = Fd.own(check(libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket", path));
    const address = new Uint8Array([AF_UNIX, 0, ...cstring(path)]);
    check(libc().bind(socket.raw, address, address.length), "bind", path);
    return new NotifySocket(path, socket);
  }

  /** Receives the next message. */
  async receive(): Promise<Notice> {
    const [ready = 0] = await pollNonblocking([{ fd: this.socket, events: POLL.IN }], PATIENCE_MS);
    if (ready === 0) throw new Error(`no message came within ${PATIENCE_MS} ms`);
    const text = new Uint8Array(4096), control = new Uint8Array(64), iov = new BigUint64Array(2);
    iov.set([addressOf(text), BigInt(text.length)]);
    const header = new Uint8Array(MSGHDR.SIZE);
    const view = new DataView(header.buffer);
    view.setBigUint64(MSGHDR.iov, addressOf(iov), true);
    view.setBigUint64(MSGHDR.iovCount, 1n, true);
    view.setBigUint64(MSGHDR.control, addressOf(control), true);
    view.setBigUint64(MSGHDR.controlLength, BigInt(control.length), true);
    const length = check(libc().recvmsg(this.socket.raw, header, MSG_CMSG_CLOEXEC), "recvmsg", this.path);
    const hasFd = view.getBigUint64(MSGHDR.controlLength, true) > BigInt(CMSGHDR_SIZE);
    return {
      text: new TextDecoder().decode(text.subarray(0, length)),
      fd: hasFd ? Fd.own(new DataView(control.buffer).getInt32(CMSGHDR_SIZE, true)) : undefined,
    };
  }

  /** Skips messages until one contains the line. */
  async receiveLine(line: string): Promise<Notice> {
    for (;;) {
      const notice = await this.receive();
      if (notice.text.split("\n").includes(line)) return notice;
      notice.fd?.[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    Deno.removeSync(this.path);
  }
}

/** Words before a program that start it with `fds` from 3 on, as the service manager does on a restart. */
export function withStored(fds: readonly (readonly [name: string, fd: Fd])[]): string[] {
  const script = `use POSIX; $i = 3; POSIX::dup2($_, $i++) for splice(@ARGV, 0, shift @ARGV); ` +
    `$ENV{LISTEN_PID} = $$; exec @ARGV`;
  const env = [`LISTEN_FDS=${fds.length}`, `LISTEN_FDNAMES=${fds.map(([name]) => name).join(":")}`];
  return ["env", ...env, "perl", "-e", script, String(fds.length), ...fds.map(([, fd]) => String(fd.raw))];
}

function addressOf(bytes: Uint8Array | BigUint64Array): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>));
}

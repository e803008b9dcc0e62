/**
 * Waits until descriptors are ready.
 *
 * {@link poll} blocks the calling thread, {@link pollNonblocking} a thread of Deno's pool.
 *
 * Source: poll.h, asm-generic/poll.h and linux/eventfd.h, Linux 6.18.
 *
 * @module
 */
import { ERRNO } from "./errno.ts";
import { type AnyFd, Fd, rawFd } from "./fd.ts";
import { check, errno, failure, loadLibc } from "./libc.ts";
import { write } from "./unistd.ts";

/** Events. ERR, HUP and NVAL are always reported. */
export const POLL = { IN: 0x1, PRI: 0x2, OUT: 0x4, ERR: 0x8, HUP: 0x10, NVAL: 0x20 } as const;

/** A descriptor to wait for. */
export interface PollEntry {
  readonly fd: AnyFd;
  /** {@link POLL} bits that end the wait. */
  readonly events: number;
}

/** struct pollfd: byte offsets. */
const POLLFD = { SIZE: 8, fd: 0, events: 4, revents: 6 } as const;

const EFD_CLOEXEC = 0o2000000;

const libc = loadLibc({
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32" }, // int poll(struct pollfd *, nfds_t, int timeout)
  pollElsewhere: { name: "poll", parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
  eventfd: { parameters: ["u32", "i32"], result: "i32" }, // int eventfd(unsigned initval, int flags)
});

/** Creates a descriptor that becomes permanently readable when {@link raise} is called. */
export function eventfd(): Fd {
  return Fd.own(check(libc().eventfd(0, EFD_CLOEXEC), "eventfd", "alarm"));
}

/** Makes an {@link eventfd} readable. */
export function raise(alarm: Fd): void {
  write(alarm, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
}

/** Encodes an array of struct pollfd. */
export function encodePollFds(entries: readonly PollEntry[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(entries.length * POLLFD.SIZE);
  const view = new DataView(bytes.buffer);
  entries.forEach((entry, i) => {
    view.setInt32(i * POLLFD.SIZE + POLLFD.fd, rawFd(entry.fd), true);
    view.setInt16(i * POLLFD.SIZE + POLLFD.events, entry.events, true);
  });
  return bytes;
}

function decodeEvents(bytes: Uint8Array<ArrayBuffer>, count: number): number[] {
  const view = new DataView(bytes.buffer);
  return Array.from({ length: count }, (_, i) => view.getInt16(i * POLLFD.SIZE + POLLFD.revents, true));
}

/** Returns a function for the remaining milliseconds of a timeout; -1 stays -1. */
function countdown(timeoutMs: number): () => number {
  const end = performance.now() + timeoutMs;
  return () => (timeoutMs < 0 ? -1 : Math.max(0, Math.ceil(end - performance.now())));
}

/**
 * Waits for any of `entries`.
 *
 * @param timeoutMs 0 returns at once, -1 waits forever
 * @returns the {@link POLL} bits that are set for each entry; all 0 after the timeout
 */
export function poll(entries: readonly PollEntry[], timeoutMs: number): number[] {
  const bytes = encodePollFds(entries);
  const left = countdown(timeoutMs);
  for (;;) {
    if (libc().poll(bytes, BigInt(entries.length), left()) >= 0) return decodeEvents(bytes, entries.length);
    if (errno() !== ERRNO.EINTR) throw failure("poll", `${entries.length} descriptors`);
  }
}

/**
 * Like {@link poll}, without blocking this thread. The descriptors must stay open until the promise settles.
 *
 * @param timeoutMs -1 waits until `signal` is aborted
 * @throws the signal's reason when it is aborted
 */
export async function pollNonblocking(
  entries: readonly PollEntry[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<number[]> {
  signal?.throwIfAborted();
  using alarm = eventfd();
  const onAbort = (): void => raise(alarm);
  signal?.addEventListener("abort", onAbort);
  try {
    const bytes = encodePollFds([...entries, { fd: alarm, events: POLL.IN }]);
    const count = BigInt(entries.length + 1);
    const left = countdown(timeoutMs);
    for (;;) {
      let ready = await libc().pollElsewhere(bytes, count, left());
      signal?.throwIfAborted();
      // errno is on the other thread; repeating the call here without waiting yields its own.
      if (ready < 0) ready = libc().poll(bytes, count, 0);
      if (ready > 0 || (ready === 0 && left() === 0)) return decodeEvents(bytes, entries.length);
      if (ready < 0 && errno() !== ERRNO.EINTR) throw failure("poll", `${entries.length} descriptors`);
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

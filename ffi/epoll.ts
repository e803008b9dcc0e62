/**
 * Waits for a descriptor that several threads wait for: an event wakes only one of them.
 *
 * Source: sys/epoll.h and linux/eventpoll.h, Linux 6.18.
 *
 * @module
 */
import { type AnyFd, Fd, rawFd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";
import { MACHINE, type Machine } from "./machine.ts";

/** Events. ERR and HUP are always reported. */
export const EPOLL = { IN: 0x1, OUT: 0x4, ERR: 0x8, HUP: 0x10, EXCLUSIVE: 0x1000_0000 } as const;

/** struct epoll_event: byte offsets. Packed on x86-64 only. */
export const EPOLL_EVENTS: Readonly<Record<Machine, { readonly SIZE: number; readonly events: number }>> = {
  x86_64: { SIZE: 12, events: 0 },
  aarch64: { SIZE: 16, events: 0 },
};
const EPOLL_EVENT = EPOLL_EVENTS[MACHINE];

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;

const libc = loadLibc({
  epoll_create1: { parameters: ["i32"], result: "i32" }, // int epoll_create1(int flags)
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
});

/**
 * Waits repeatedly for one descriptor without allocating.
 *
 * When several threads each have an ExclusiveWait for the same file, an event wakes at least one of them. poll(2) would
 * wake all of them, although only one finds the data.
 */
export class ExclusiveWait implements Disposable {
  readonly #epoll: Fd;
  readonly #event = new Uint8Array(EPOLL_EVENT.SIZE);

  /**
   * @param fd must stay open while this object exists
   * @param events {@link EPOLL} bits
   */
  constructor(fd: AnyFd, events: number) {
    this.#epoll = Fd.own(check(libc().epoll_create1(EPOLL_CLOEXEC), "epoll_create1", "descriptor"));
    new DataView(this.#event.buffer).setUint32(EPOLL_EVENT.events, events | EPOLL.EXCLUSIVE, true);
    try {
      check(libc().epoll_ctl(this.#epoll.raw, EPOLL_CTL_ADD, rawFd(fd), this.#event), "epoll_ctl", "descriptor");
    } catch (error) {
      this.#epoll[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Returns whether the descriptor became ready. A signal ends the wait early.
   *
   * @param timeoutMs 0 returns at once, -1 waits forever
   */
  wait(timeoutMs: number): boolean {
    return libc().epoll_wait(this.#epoll.raw, this.#event, 1, timeoutMs) > 0;
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }
}

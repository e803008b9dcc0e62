/**
 * Process descriptors, which never refer to another process that reuses the process id.
 *
 * Source: pidfd_open(2) (Linux 5.3), pidfd_getfd(2) (5.6), pidfd_send_signal(2) (5.1); asm-generic/unistd.h, Linux 6.18
 * (the numbers are the same on x86-64 and arm64). Called by number, because glibc has wrappers only since 2.36.
 *
 * @module
 */
import { Fd, rawFd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";

/** System call numbers, the same on every machine. */
export const PIDFD_SYSCALLS = { pidfd_send_signal: 424n, pidfd_open: 434n, pidfd_getfd: 438n } as const;

/** Numbers of signal(7), the same on x86-64 and arm64. */
export const SIGNAL = { KILL: 9 } as const;

const libc = loadLibc({
  // long syscall(SYS_pidfd_open, pid_t pid, unsigned flags)
  pidfd_open: { name: "syscall", parameters: ["i64", "i32", "u32"], result: "i32" },
  // long syscall(SYS_pidfd_getfd, int pidfd, int targetfd, unsigned flags)
  pidfd_getfd: { name: "syscall", parameters: ["i64", "i32", "i32", "u32"], result: "i32" },
  // long syscall(SYS_pidfd_send_signal, int pidfd, int sig, siginfo_t *info, unsigned flags)
  pidfd_send_signal: { name: "syscall", parameters: ["i64", "i32", "i32", "pointer", "u32"], result: "i32" },
});

/** Opens the process `pid`, close-on-exec. Becomes readable (poll) when it has ended. ESRCH if it does not exist. */
export function pidfdOpen(pid: number): Fd {
  return Fd.own(check(libc().pidfd_open(PIDFD_SYSCALLS.pidfd_open, pid, 0), "pidfd_open", `process ${pid}`));
}

/**
 * Duplicates descriptor `number` of the process, close-on-exec. EBADF if it is not open, ESRCH if the process has
 * ended.
 */
export function pidfdGetfd(process: Fd, number: number): Fd {
  return Fd.own(
    check(libc().pidfd_getfd(PIDFD_SYSCALLS.pidfd_getfd, rawFd(process), number, 0), "pidfd_getfd", number),
  );
}

/** Sends a {@link SIGNAL}. ESRCH if the process has ended. */
export function pidfdSendSignal(process: Fd, signal: number): void {
  check(
    libc().pidfd_send_signal(PIDFD_SYSCALLS.pidfd_send_signal, rawFd(process), signal, null, 0),
    "pidfd_send_signal",
    signal,
  );
}

/**
 * Resources that a thread shares with the other threads of its process.
 *
 * `unshare` affects only the calling thread: in a Worker, that Worker. The main thread and existing threads are
 * unaffected, and `Deno.Command` children inherit from the thread that starts them.
 *
 * Source: linux/sched.h 6.18.
 *
 * @module
 */
import { check, loadLibc } from "./libc.ts";

/** Resources to stop sharing. */
export const CLONE = {
  /** Root, working directory and umask. */
  FS: 0x200,
  /** The descriptor table: the thread gets a copy. */
  FILES: 0x400,
  /** The mount namespace; implies FS. */
  NEWNS: 0x2_0000,
} as const;

const libc = loadLibc({
  unshare: { parameters: ["i32"], result: "i32" }, // int unshare(int flags)
  sched_yield: { parameters: [], result: "i32" }, // int sched_yield(void)
});

/** Lets other runnable threads run first. */
export function schedYield(): void {
  libc().sched_yield();
}

/** Stops sharing the resources in `flags` ({@link CLONE} bits). NEWNS requires CAP_SYS_ADMIN. */
export function unshare(flags: number): void {
  check(libc().unshare(flags), "unshare", `flags 0x${flags.toString(16)}`);
}

/**
 * What a thread shares with the others of its process.
 *
 * `unshare` changes the calling thread alone: in a Worker, that Worker. The main thread and threads made before keep
 * what they had, and `Deno.Command` children are started by whichever thread asks.
 *
 * Source: linux/sched.h 6.18.
 *
 * @module
 */
import { check, loadLibc } from "./libc.ts";

/** What to have alone. */
export const CLONE = {
  /** Root, working directory and umask. */
  FS: 0x200,
  /** The descriptor table: a copy of its own from now on. */
  FILES: 0x400,
  /** The mount namespace; implies FS. */
  NEWNS: 0x2_0000,
} as const;

const libc = loadLibc({
  unshare: { parameters: ["i32"], result: "i32" }, // int unshare(int flags)
  sched_yield: { parameters: [], result: "i32" }, // int sched_yield(void)
});

/** Lets other threads that are ready run first. */
export function schedYield(): void {
  libc().sched_yield();
}

/** Stops sharing what `flags` ({@link CLONE} bits) names. NEWNS needs CAP_SYS_ADMIN. */
export function unshare(flags: number): void {
  check(libc().unshare(flags), "unshare", `flags 0x${flags.toString(16)}`);
}

/**
 * Clocks.
 *
 * Source: time.h of glibc 2.36, linux/time.h 6.18.
 *
 * @module
 */
import { check, loadLibc } from "./libc.ts";

/** The wall clock, for clock_gettime(2). */
const CLOCK_REALTIME = 0;

/** struct timespec of 64-bit machines: byte offsets. */
const TIMESPEC = { SIZE: 16, sec: 0, nsec: 8 } as const;

/** A point in time since 1970. */
export interface TimeSpec {
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanos: number;
}

const libc = loadLibc({
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" }, // int clock_gettime(clockid_t, struct timespec *)
});

/** The wall clock at the resolution of the kernel, which Date.now() rounds to milliseconds. */
export function realTime(): TimeSpec {
  const bytes = new Uint8Array(TIMESPEC.SIZE);
  check(libc().clock_gettime(CLOCK_REALTIME, bytes), "clock_gettime", CLOCK_REALTIME);
  return decodeTimeSpec(new DataView(bytes.buffer));
}

/** Decodes a struct timespec. */
export function decodeTimeSpec(view: DataView): TimeSpec {
  return {
    seconds: Number(view.getBigInt64(TIMESPEC.sec, true)),
    nanos: Number(view.getBigInt64(TIMESPEC.nsec, true)),
  };
}

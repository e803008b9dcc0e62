/**
 * ioctl(2). Request numbers belong to the file of the device that they are for.
 *
 * @module
 */
import { type AnyFd, rawFd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";

const libc = loadLibc({
  ioctlBuffer: { name: "ioctl", parameters: ["i32", "u64", "buffer"], result: "i32" }, // int ioctl(int, unsigned long, void *)
  ioctlValue: { name: "ioctl", parameters: ["i32", "u64", "i64"], result: "i32" }, // int ioctl(int, unsigned long, long)
});

/**
 * Controls a device. Not tried again after EINTR: what that means is the device's.
 *
 * @param argument bytes that the kernel reads or fills, or a plain value; absent: 0
 */
export function ioctl(fd: AnyFd, request: bigint, argument: Uint8Array | number | bigint = 0): number {
  const raw = rawFd(fd);
  const result = argument instanceof Uint8Array
    ? libc().ioctlBuffer(raw, request, argument)
    : libc().ioctlValue(raw, request, BigInt(argument));
  return check(result, `ioctl 0x${request.toString(16)}`, raw);
}

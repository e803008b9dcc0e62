/**
 * ioctl(2). Request numbers are defined in the files of their devices.
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
 * Controls a device. Does not retry on EINTR, whose meaning depends on the device.
 *
 * @param argument bytes that the kernel reads or fills, or a plain value
 */
export function ioctl(fd: AnyFd, request: bigint, argument: Uint8Array | number | bigint): number {
  const raw = rawFd(fd);
  const result = argument instanceof Uint8Array
    ? libc().ioctlBuffer(raw, request, argument)
    : libc().ioctlValue(raw, request, BigInt(argument));
  return check(result, `ioctl 0x${request.toString(16)}`, raw);
}

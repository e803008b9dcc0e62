/**
 * Opens the kernel's cache (cachefiles): sets its directory and its limits.
 *
 * @module
 */
import { command, openCachefiles } from "../../../ffi/cachefiles.ts";
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { type CullLimits, KERNEL_LIMITS, limitCommands } from "./cull_limits.ts";

/** Tag of the cache in kernel messages. */
const TAG = "nydus-gd";

/**
 * Opens /dev/cachefiles for a cache in `dir`, which is created.
 *
 * @throws {NydusGdError} "environment" when it is unavailable, with the reason; "busy" when another process has it
 */
export async function openCacheDevice(dir: string, limits: CullLimits = KERNEL_LIMITS): Promise<Fd> {
  const device = openDevice();
  try {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
    command(device, "dir", dir);
    command(device, "tag", TAG);
    for (const [name, percent] of limitCommands(limits)) command(device, name, percent);
    command(device, "bind", "ondemand");
    return device;
  } catch (error) {
    device[Symbol.dispose]();
    throw error instanceof SyscallError ? cannot(stateOf(error, dir), error) : error;
  }
}

function openDevice(): Fd {
  try {
    return openCachefiles();
  } catch (error) {
    if (isErrno(error, "EBUSY")) {
      throw new NydusGdError("busy", "Cannot use fscache: another program holds /dev/cachefiles", { cause: error });
    }
    if (!(error instanceof SyscallError)) throw error;
    throw cannot(error.message, error, "modprobe cachefiles");
  }
}

/** Explains why a command was refused. */
function stateOf(error: SyscallError, dir: string): string {
  if (!error.subject.includes("bind")) return error.message;
  if (error.code === "EINVAL") return `kernel ${Deno.osRelease()} does not ask for data (CONFIG_CACHEFILES_ONDEMAND)`;
  if (error.code === "EOPNOTSUPP") return `the file system of ${dir} cannot hold it`;
  return error.message;
}

function cannot(state: string, cause: unknown, hint?: string): NydusGdError {
  const details = hint === undefined ? { cause } : { cause, hint };
  return new NydusGdError("environment", `Cannot use fscache: ${state}`, details);
}

/**
 * Set-up of FUSE mounts: libfuse3, /dev/fuse and its clones, mounting, the INIT request; and how their end is forced.
 *
 * Mounts are made directly, not through fusermount3, so that the descriptors are ours to pass on. `nodev` and `nosuid`
 * are not set: device nodes and setuid programs of an image must work in containers.
 *
 * @module
 */
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { FUSE_DEV_IOC_CLONE, FUSE_IN_HEADER, FUSE_OPCODE } from "../../../ffi/fuse_kernel.ts";
import { MissingLibraryError } from "../../../ffi/libc.ts";
import { libfuseVersion, UnknownLibfuseError } from "../../../ffi/libfuse3.ts";
import { POLL, poll } from "../../../ffi/poll.ts";
import { ioctl } from "../../../ffi/sys_ioctl.ts";
import { mount, MS, umount2 } from "../../../ffi/sys_mount.ts";
import { read } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { mountAt } from "../../../ffi/mountinfo.ts";

const log = logger("mount", "fuse");

const DEVICE = "/dev/fuse";
/** Source and type in /proc/self/mountinfo, which tell our mounts from others. */
const FUSE_SOURCE = "nydus-gd";
export const FUSE_TYPE = "fuse.nydus-gd";
/** The kernel queues INIT during the mount call. */
const INIT_TIMEOUT_MS = 5_000;

/** Checks that libfuse3 is installed and of a known version. */
export function checkLibrary(): void {
  try {
    log.debug("library loaded", { libfuse: libfuseVersion() });
  } catch (error) {
    if (!(error instanceof MissingLibraryError || error instanceof UnknownLibfuseError)) throw error;
    throw new NydusGdError("environment", error.message, { cause: error, hint: error.hint });
  }
}

/** A mount that is not served yet. */
export interface FuseMount {
  /** The device and its clones, one per Worker. */
  readonly devices: Fd[];
  /** Minor device number of the mount, which names the connection in fusectl. */
  readonly connection: number;
}

/**
 * Opens /dev/fuse `count` times and mounts.
 *
 * @throws {NydusGdError} "environment", "busy"
 */
export function mountFuse(mountpoint: string, count: number, maxRead: number): FuseMount {
  if (findMount(mountpoint) !== undefined) {
    throw new NydusGdError("busy", `Cannot mount on ${mountpoint}: a session is mounted there`, {
      hint: `nydus-gd umount ${mountpoint}`,
    });
  }
  const devices: Fd[] = [];
  try {
    const first = openDevice();
    devices.push(first);
    const options = `fd=${first.raw},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions`;
    mountOrExplain(mountpoint, `${options},max_read=${maxRead}`);
    try {
      while (devices.length < count) devices.push(cloneDevice(first));
      const connection = findMount(mountpoint);
      if (connection === undefined) throw new NydusGdError("io", `Cannot find mount at ${mountpoint} in mountinfo`);
      return { devices, connection };
    } catch (error) {
      umount2(mountpoint, 0);
      throw error;
    }
  } catch (error) {
    for (const device of devices) device[Symbol.dispose]();
    throw error;
  }
}

/** Returns the connection of the session mounted at `mountpoint`; undefined if there is none. */
export function findMount(mountpoint: string): number | undefined {
  const entry = mountAt(mountpoint);
  return entry?.fsType === FUSE_TYPE ? Number(entry.device.split(":")[1]) : undefined;
}

function openDevice(): Fd {
  try {
    return open(DEVICE, O.RDWR | O.NONBLOCK);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new NydusGdError("environment", error.message, { cause: error, hint: "modprobe fuse" });
  }
}

function mountOrExplain(mountpoint: string, options: string): void {
  try {
    mount(FUSE_SOURCE, mountpoint, FUSE_TYPE, MS.RDONLY, options);
  } catch (error) {
    if (isErrno(error, "EPERM")) {
      throw new NydusGdError("environment", error.message, { cause: error, hint: "run as root" });
    }
    if (isErrno(error, "ENOENT", "ENOTDIR")) throw new NydusGdError("not-found", error.message, { cause: error });
    throw error;
  }
}

/** Opens another queue of the same connection. */
function cloneDevice(first: Fd): Fd {
  const device = openDevice();
  try {
    ioctl(device, BigInt(FUSE_DEV_IOC_CLONE), new Uint8Array(new Uint32Array([first.raw]).buffer));
    return device;
  } catch (error) {
    device[Symbol.dispose]();
    throw error;
  }
}

/** Reads INIT, the first request of a fresh mount, into `into`. */
export function readInit(device: Fd, into: Uint8Array): void {
  const [ready = 0] = poll([{ fd: device, events: POLL.IN }], INIT_TIMEOUT_MS);
  if ((ready & POLL.IN) === 0) {
    throw new NydusGdError("io", `Cannot read FUSE INIT: nothing came within ${INIT_TIMEOUT_MS} ms`);
  }
  const length = read(device, into);
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  if (length < FUSE_IN_HEADER.SIZE || view.getUint32(FUSE_IN_HEADER.opcode, true) !== FUSE_OPCODE.INIT) {
    throw new NydusGdError("io", "Cannot read FUSE INIT: the first request is another");
  }
}

/**
 * Aborts a connection whose mount is out of reach: waiting requests get ECONNABORTED, later ones ENOTCONN.
 *
 * @param connection minor device number of the mount
 */
export async function abortConnection(connection: number): Promise<void> {
  const control = await Deno.makeTempDir({ prefix: "nydus-gd-fusectl-" });
  try {
    mount("fusectl", control, "fusectl", MS.NOSUID | MS.NODEV | MS.NOEXEC);
    try {
      await Deno.writeTextFile(`${control}/${connection}/abort`, "1");
    } finally {
      umount2(control, 0);
    }
  } finally {
    await Deno.remove(control);
  }
}

/**
 * Whether mounts of a data path can be idmapped, as containers in user namespaces need it.
 *
 * EROFS can since Linux 5.19, the first of its data paths; FUSE since 6.12.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { FUSE_MIN_READ_BUFFER, hasIdmap } from "../../ffi/fuse_kernel.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { NydusGdError } from "../base/errors.ts";
import type { FsDriver } from "./data_path.ts";
import { probePath } from "./erofs/probe_places.ts";
import { mountFuse, readInit } from "./fuse/fuse_mount.ts";

/**
 * Asks the kernel, for FUSE by a mount that nobody serves.
 *
 * @param dir existing directory for that mount
 * @throws {NydusGdError} "environment" if they cannot; as {@link mountFuse}
 */
export function requireIdmaps(fsDriver: FsDriver, dir: string): void {
  if (fsDriver !== "fuse" || hasIdmap(initRequest(dir))) return;
  const state = `kernel ${Deno.osRelease()} does not shift their owners for userns-remap (Linux 6.12)`;
  throw new NydusGdError("environment", `Cannot use lazy images by fuse: ${state}`, {
    hint: "use an ordinary image, or remove userns-remap from /etc/docker/daemon.json",
  });
}

/** The first request of a FUSE mount, which tells what the kernel can do. */
function initRequest(dir: string): Uint8Array {
  const probe = probePath(dir);
  const init = new Uint8Array(FUSE_MIN_READ_BUFFER);
  Deno.mkdirSync(probe, { mode: 0o700 });
  try {
    using held = new DisposableStack();
    const { devices } = mountFuse(probe, 1, FUSE_MIN_READ_BUFFER);
    held.defer(() => umount2(probe, MNT.DETACH));
    for (const device of devices) held.use(device); // closed first, which ends the connection
    readInit(devices[0] as Fd, init);
    return init;
  } finally {
    Deno.removeSync(probe);
  }
}

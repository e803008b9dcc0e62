/**
 * A Worker that makes EROFS images and mounts them: what takes a while, or waits for the kernel.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { viewAt } from "../../../ffi/sys_mman.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { sendError } from "../../base/worker_pool.ts";
import { devicesOf, makeErofsImage } from "../../rafs/erofs_image.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { mountErofs } from "./erofs_mount.ts";
import type { ErofsAnswer, ErofsTask } from "./erofs_tasks.ts";
import { probeErofs } from "./probe.ts";

const scope = self as unknown as {
  postMessage(message: ErofsAnswer): void;
  onmessage: ((event: MessageEvent<ErofsTask>) => void) | null;
};

function run(task: ErofsTask): ErofsAnswer {
  switch (task.kind) {
    case "probe":
      probeErofs(task.dir);
      return {};
    case "make": {
      const { bytes, devices } = makeErofsImage(openBootstrap(viewAt(task.address, task.length)));
      write(task.path, bytes);
      return { devices };
    }
    case "devices":
      return { devices: devicesOf(openBootstrap(viewAt(task.address, task.length))) };
    case "mount":
      mountErofs(task);
      return {};
    case "read":
      return { read: readByte(task.path, task.offset) };
  }
}

function readByte(path: string, offset: number): number | string {
  const byte = new Uint8Array(1);
  try {
    using file = open(path, O.RDONLY);
    preadExact(file, byte, offset);
    return byte[0] as number;
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}

function write(path: string, bytes: Uint8Array): void {
  try {
    Deno.writeFileSync(path, bytes, { mode: 0o600 });
  } catch (error) {
    throw new NydusGdError("io", `Cannot write EROFS image ${path}: ${messageOf(error)}`, { cause: error });
  }
}

scope.onmessage = ({ data }) => {
  try {
    scope.postMessage(run(data));
  } catch (error) {
    scope.postMessage({ error: sendError(error) });
  }
};

/**
 * A Worker that makes and mounts EROFS images: tasks that take long or wait for the kernel.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { viewAt } from "../../../ffi/sys_mman.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { sendError } from "../../base/worker_pool.ts";
import { devicesOf } from "../../rafs/erofs/erofs_image.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { makeCachedImage } from "./cached_image_file.ts";
import { mountErofs, mountErofsCached } from "./erofs_mount.ts";
import type { ErofsReply, ErofsTask } from "./erofs_tasks.ts";
import { keepImage, type PreparedImage, prepareImage } from "./kept_image.ts";

const scope = self as unknown as {
  postMessage(message: ErofsReply): void;
  onmessage: ((event: MessageEvent<ErofsTask>) => void) | null;
};

type AnsweredTask = Exclude<ErofsTask, { readonly kind: "prepare" }>;

/** Made in advance. */
let preparing: Promise<PreparedImage | undefined> | undefined;

async function run(task: AnsweredTask): Promise<ErofsReply> {
  switch (task.kind) {
    case "keep":
      return { devices: await keepImage(viewAt(task.address, task.length), task.path, await preparing) };
    case "make-cached":
      return { digest: await makeCachedImage(task.kept, task.path, task.names) };
    case "devices":
      return { devices: devicesOf(openBootstrap(viewAt(task.address, task.length))) };
    case "mount":
      mountErofs(task);
      return {};
    case "mount-cached":
      mountErofsCached(task);
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

scope.onmessage = async ({ data }) => {
  if (data.kind === "prepare") {
    preparing = prepareImage(data.path);
    return;
  }
  try {
    scope.postMessage(await run(data));
  } catch (error) {
    scope.postMessage({ error: sendError(error) });
  }
};

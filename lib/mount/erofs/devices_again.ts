/**
 * The devices of an image whose super block outlived the process that made it: the same tree makes the same devices.
 *
 * @module
 */
import { viewAt } from "../../../ffi/sys_mman.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import type { MountableImage } from "../image_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";
import { keptDevices } from "./kept_image.ts";

/**
 * Tells them. From a file that was kept they are read in this thread, some milliseconds, while programs wait for them;
 * else a Worker makes them of the tree.
 *
 * @param stateDir where the image for the kernel would be kept
 * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "io"
 */
export async function devicesAgain(
  image: Pick<MountableImage, "name" | "bootstrap">,
  stateDir: string,
): Promise<readonly DeviceTable[]> {
  const { address, length } = image.bootstrap;
  const kept = keptDevices(viewAt(address, length), imagePath(stateDir, image));
  if (kept !== undefined) return kept;
  using tasks = new ErofsTasks();
  return await tasks.devices(image.bootstrap);
}

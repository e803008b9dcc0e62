/**
 * Recomputes the devices of an image whose super block outlived the process that made it: the same tree results in the
 * same devices.
 *
 * @module
 */
import { viewAt } from "../../../ffi/sys_mman.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import type { MountableImage } from "../image_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";
import { isDamaged, keptDevices } from "./kept_image.ts";

/** What was recomputed. */
export interface RecomputedDevices {
  readonly devices: readonly DeviceTable[];
  /** Whether the kept file is not what the super block was mounted from: the kernel may read damaged names in it. */
  readonly isDamaged: boolean;
}

/** One file is read at a time, as each takes memory. */
const reading = new KeyedMutex<"file">();

/**
 * Returns the devices. If the image file was kept, it is read in this thread, which takes some milliseconds while
 * programs wait; otherwise a Worker computes the devices from the tree.
 *
 * @param stateDir directory of the kept image file
 * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "io"
 */
export async function recomputeDevices(
  image: Pick<MountableImage, "name" | "bootstrap">,
  stateDir: string,
): Promise<RecomputedDevices> {
  const { address, length } = image.bootstrap;
  const path = imagePath(stateDir, image);
  const kept = await reading.run("file", () => keptDevices(viewAt(address, length), path));
  if (kept !== undefined) return { devices: kept, isDamaged: false };
  using tasks = new ErofsTasks();
  return { devices: await tasks.devices(image.bootstrap), isDamaged: await isDamaged(path) };
}

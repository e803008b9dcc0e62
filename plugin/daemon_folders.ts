/**
 * The folders below the daemon's root.
 *
 * @module
 */
import { mountAt } from "../ffi/mountinfo.ts";
import { makeFolder } from "../lib/base/make_folder.ts";
import { STATE_FOLDERS } from "../lib/image/gc/state_left_overs.ts";

/** Absolute paths of folders with mode 0700. */
export interface DaemonFolders {
  readonly cache: string;
  readonly state: string;
  /** Recorded backend choices of images, see LazyImageStore. */
  readonly homes: string;
  /** Records of `nydus-gd pull`. */
  readonly pulled: string;
  /** Mount point of the FUSE session. */
  readonly images: string;
  /** Mount points of EROFS images. */
  readonly erofs: string;
}

/** Creates missing folders. */
export async function makeFolders(root: string): Promise<DaemonFolders> {
  const folders = {
    cache: `${root}/cache`,
    state: `${root}/state`,
    homes: `${root}/state/${STATE_FOLDERS.homes}`,
    pulled: `${root}/state/${STATE_FOLDERS.pulled}`,
    images: `${root}/images`,
    erofs: `${root}/erofs`,
  };
  for (const folder of Object.values(folders)) {
    // a mount left by an earlier daemon blocks every access until it is taken over
    if (mountAt(folder) === undefined) await makeFolder(folder);
  }
  return folders;
}

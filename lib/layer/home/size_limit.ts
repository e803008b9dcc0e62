/**
 * Limits for the data that containers write, enforced by project quotas of the home's file system.
 *
 * A limited layer has a project of its own, which covers the folders `diff` and `work` and everything created in them.
 * The layer's root stays in the home's project, so that the layer can be renamed in and out of the home.
 *
 * Project ids are shared with other programs on the same file system. A random unused one is chosen; removing the layer
 * lifts the limit, which frees the id.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { enforcesProjects, limitProject, projectOf, projectQuota, setProject } from "../../../ffi/sys_quota.ts";
import { NydusGdError } from "../../base/errors.ts";
import { backingFileSystem } from "./home_probe.ts";

const FOLDER = O.RDONLY | O.DIRECTORY | O.NOFOLLOW;
/** Highest id used here; 0 and the upper half are left to others. */
const MAX_PROJECT = 0x7fff_ffff;

/**
 * Checks that layers in `home` can be limited.
 *
 * @throws {NydusGdError} "unsupported" if they cannot
 */
export function requireSizeLimits(home: string, what: string): void {
  using folder = open(home, FOLDER);
  if (enforcesProjects(folder)) return;
  const place = `${home} is on ${backingFileSystem(home)} without any`;
  throw new NydusGdError("unsupported", `Cannot ${what}: a size needs project quotas, and ${place}`, {
    hint: "mount the file system of Docker's data-root, xfs or ext4, with prjquota, or leave the size out",
  });
}

/** Limits the total size of the folders of a layer, which must be empty. */
export function limitFolders(paths: readonly string[], bytes: number): void {
  using folders = new DisposableStack();
  const opened = paths.map((path) => folders.use(open(path, FOLDER)));
  const [first] = opened;
  if (first === undefined) return;
  const project = freeProject(first);
  limitProject(first, project, bytes);
  for (const folder of opened) setProject(folder, project);
}

/** Returns a project id that no file uses and that has no limit. */
function freeProject(folder: Fd): number {
  for (;;) {
    const project = randomProject();
    const quota = projectQuota(folder, project);
    if (quota === undefined || quota.hardLimitBytes + quota.usedBytes + quota.usedInodes === 0) return project;
  }
}

function randomProject(): number {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  return 1 + random % MAX_PROJECT;
}

/**
 * Frees the project of a layer, if it has one.
 *
 * @param root the layer's folder, possibly incomplete
 */
export function liftLimit(root: string): void {
  try {
    using layer = open(root, FOLDER);
    using diff = open(`${root}/diff`, FOLDER);
    const project = projectOf(diff);
    if (project !== projectOf(layer)) limitProject(diff, project, 0);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ENOTTY", "EOPNOTSUPP")) throw error;
  }
}

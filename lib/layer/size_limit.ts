/**
 * A limit for what a container writes, kept by the project quotas of the home's file system.
 *
 * A limited layer has a project of its own: folders `diff` and `work`, and all that is made in them. The layer's root
 * stays in the home's project, so that the layer can be renamed in and out of the home.
 *
 * Numbers of projects belong to the whole file system, where other programs have some as well. One is taken at random
 * of those that nobody uses; the limit is lifted when the layer goes, which makes its number free again.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { enforcesProjects, limitProject, projectOf, projectQuota, setProject } from "../../ffi/sys_quota.ts";
import { NydusGdError } from "../base/errors.ts";
import { backingFileSystem } from "./home_probe.ts";

const FOLDER = O.RDONLY | O.DIRECTORY | O.NOFOLLOW;
/** Half of all numbers: the upper half and 0 are others'. */
const MAX_PROJECT = 0x7fff_ffff;

/**
 * Whether layers in `home` can be limited.
 *
 * @throws {NydusGdError} "unsupported" when they cannot
 */
export function requireSizeLimits(home: string, what: string): void {
  using folder = open(home, FOLDER);
  if (enforcesProjects(folder)) return;
  const place = `${home} is on ${backingFileSystem(home)} without any`;
  throw new NydusGdError("unsupported", `Cannot ${what}: a size needs project quotas, and ${place}`, {
    hint: "mount the file system of Docker's data-root, xfs or ext4, with prjquota, or leave the size out",
  });
}

/** Limits what the folders of a layer, which are still empty, take together. */
export function limitFolders(paths: readonly string[], bytes: number): void {
  using folders = new DisposableStack();
  const opened = paths.map((path) => folders.use(open(path, FOLDER)));
  const [first] = opened;
  if (first === undefined) return;
  const project = freeProject(first);
  limitProject(first, project, bytes);
  for (const folder of opened) setProject(folder, project);
}

/** A number that no file has and that has no limit. */
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
 * Gives the project of a layer back, if it has one.
 *
 * @param root the layer's folder; what is in it may be there in part
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

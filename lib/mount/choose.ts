/**
 * Chooses the data path that serves images.
 *
 * | data path | what it is | what it needs |
 * |---|---|---|
 * | erofs-fanotify | the kernel's EROFS on files of the cache | Linux 6.14, cache and state folder on ext4, xfs or btrfs |
 * | erofs-fuse | the kernel's EROFS on device files of our FUSE session | Linux 6.12, state folder on a disk |
 * | erofs-fscache | the kernel's EROFS on its own cache | Linux 5.19 to 7.1 with on-demand cachefiles |
 * | fuse | a file system in this program | /dev/fuse |
 *
 * "auto" selects the first one that works on this machine. It selects erofs-fanotify only under a strong guard
 * (keeper/guard.ts), because that path shows zeros once all processes that serve it have died, and erofs-fscache only
 * if a successor can take it over. A data path requested by name is used, or the choice fails.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../base/errors.ts";
import { type DataPathChoice, type FsDriver, namedFsDriver } from "./data_path.ts";
import { probeErofs } from "./erofs/probe.ts";
import { probeFanotify } from "./fanotify/probe_fanotify.ts";
import { probeFscache } from "./fscache/probe_fscache.ts";
import { type Guard, guardOf } from "./keeper/guard.ts";

/** Existing folders whose file systems are probed. */
export interface DataPathFolders {
  /** Folder for images that the kernel mounts. */
  readonly stateDir: string;
  /** Folder of the cache. */
  readonly cacheDir: string;
}

/** Order of preference of "auto" before fuse. */
const PREFERRED = ["erofs-fanotify", "erofs-fuse", "erofs-fscache"] as const;
const FSCACHE_FIRST = ["erofs-fscache", "erofs-fanotify", "erofs-fuse"] as const;

type KernelPath = (typeof PREFERRED)[number];

/** Inputs to the choice apart from the machine. */
export interface ChoiceOptions {
  /** Default: the guard of this process. */
  readonly guard?: Guard;
  /** Whether nydusd's configuration has cache.type fscache: then "auto" tries erofs-fscache first. */
  readonly prefersFscache?: boolean;
}

/**
 * Chooses the data path.
 *
 * @param wanted one of {@link DATA_PATHS}, or "auto"
 * @throws {NydusGdError} "unsupported" for an unknown name, "environment" when the named one does not work here
 */
export async function chooseDataPath(
  wanted: string,
  folders: DataPathFolders,
  { guard = guardOf(), prefersFscache = false }: ChoiceOptions = {},
): Promise<DataPathChoice> {
  const named = namedFsDriver(wanted);
  const trials = new Trials(folders, guard);
  if (named === undefined) return await chooseBest(prefersFscache ? FSCACHE_FIRST : PREFERRED, trials);
  try {
    const warning = await trials.of(named);
    const choice = { fsDriver: named, reason: "selected by name", named: true };
    return warning === undefined ? choice : { ...choice, warning };
  } catch (error) {
    throw new NydusGdError("environment", `Cannot use fs_driver ${wanted}: ${messageOf(error)}`, {
      hint: "--fs-driver auto",
      cause: error,
    });
  }
}

/** The first one that works without a warning. */
async function chooseBest(order: readonly KernelPath[], trials: Trials): Promise<DataPathChoice> {
  const reasons: string[] = [];
  for (const fsDriver of order) {
    const reason = await whyNot(fsDriver, trials);
    if (reason !== undefined) reasons.push(`no ${fsDriver}: ${reason}`);
    else return { fsDriver, reason: reasons.join("; ") || reasonFor(fsDriver, trials.guard), named: false };
  }
  return { fsDriver: "fuse", reason: reasons.join("; "), named: false };
}

function reasonFor(fsDriver: KernelPath, guard: Guard): string {
  return fsDriver === "erofs-fanotify" && guard.isStrong ? guard.what : "the configuration has cache.type fscache";
}

async function whyNot(fsDriver: KernelPath, trials: Trials): Promise<string | undefined> {
  if (fsDriver === "erofs-fanotify" && !trials.guard.isStrong) return trials.guard.why;
  try {
    return await trials.of(fsDriver);
  } catch (error) {
    return messageOf(error);
  }
}

/** Tries data paths in the same folders. EROFS on files, which two of them need, is tried only once. */
class Trials {
  #erofs: Promise<void> | undefined;

  constructor(private readonly folders: DataPathFolders, readonly guard: Guard) {}

  /**
   * Tries a data path and returns its warning, if any. @throws {NydusGdError} with the reason if it does not work here
   */
  async of(fsDriver: FsDriver): Promise<string | undefined> {
    const { stateDir, cacheDir } = this.folders;
    if (fsDriver === "fuse") return undefined;
    if (fsDriver === "erofs-fscache") {
      const { canBeTakenOver } = await probeFscache(stateDir, cacheDir);
      const kernel = `kernel ${Deno.osRelease()}`;
      return canBeTakenOver ? undefined : `images fail when this program exits, on ${kernel} (Linux 6.8)`;
    }
    await (this.#erofs ??= Promise.try(() => probeErofs(stateDir)));
    if (fsDriver !== "erofs-fanotify") return undefined;
    await probeFanotify(stateDir, cacheDir);
    if (this.guard.isStrong) return undefined;
    return `images show zeros for what is missing while this program and its keeper are both dead: ${this.guard.why}`;
  }
}

/**
 * Helpers for tests on all data paths: those that this kernel supports, and a directory for mounts by one of them.
 *
 * @module
 */
import { AT } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { OPEN_TREE, openTree } from "../../../ffi/mount_api.ts";
import type { SizeLimit } from "../../../lib/base/setting_values.ts";
import { chooseDataPath } from "../../../lib/mount/choose.ts";
import type { DataPathChoice, FsDriver } from "../../../lib/mount/data_path.ts";
import { ImageMounts } from "../../../lib/mount/image_mounts.ts";
import { TESTED_DATA_PATHS } from "./data_paths.ts";
import { fuseTest } from "./fuse_mount_kit.ts";
import { TempDir } from "../temp_dir.ts";

/** Options of a {@link dataPathTest}. */
export interface DataPathTestOptions {
  /** False: an image that the data path does not support falls back to the next one, as with "auto". */
  readonly strict?: boolean;
}

/**
 * Defines a test for each data path; an unavailable one is a failure.
 *
 * @param fn gets a directory that is removed after the test with everything mounted there
 */
export function dataPathTest(
  name: string,
  fn: (kit: TestMounts) => Promise<void>,
  { strict = true }: DataPathTestOptions = {},
): void {
  for (const fsDriver of TESTED_DATA_PATHS) {
    fuseTest(`${name} (${fsDriver})`, async () => {
      await using kit = await TestMounts.start(fsDriver, strict);
      await fn(kit);
    });
  }
}

/** Options of {@link TestMounts}. */
export interface TestMountsOptions {
  /** Parent of their directory; default: that for temporary files. */
  readonly parent?: string;
  /** Default: a minute. */
  readonly deadlineMs?: number;
  /** As in ImageMounts. */
  readonly minFree?: SizeLimit;
}

/** Images mounted by one data path in a directory that is removed with them. */
export class TestMounts implements AsyncDisposable {
  private constructor(
    readonly temp: TempDir,
    readonly dataPath: DataPathChoice,
    readonly mounts: ImageMounts,
    private readonly cacheMount: Fd,
  ) {}

  static async start(
    fsDriver: FsDriver,
    strict: boolean,
    { parent, deadlineMs = 60_000, minFree }: TestMountsOptions = {},
  ): Promise<TestMounts> {
    const temp = TempDir.make(parent);
    try {
      for (const name of ["mnt", "state", "cache"]) Deno.mkdirSync(temp.join(name));
      const [stateDir, cacheDir] = [temp.join("state"), temp.join("cache")];
      const dataPath = { ...await chooseDataPath(fsDriver, { stateDir, cacheDir }), named: strict };
      const places = { mountpoint: temp.join("mnt"), stateDir, erofsDir: temp.join("erofs") };
      // the test opens files before they are watched, so it does not matter which mount of the directory is ignored
      const cacheMount = openTree(AT.FDCWD, cacheDir, OPEN_TREE.CLONE);
      const limits = { deadlineMs, ...(minFree === undefined ? {} : { minFree }) };
      const mounts = await ImageMounts.start({ ...places, cacheMount, cacheDir, dataPath, workers: 2, ...limits });
      return new TestMounts(temp, dataPath, mounts, cacheMount);
    } catch (error) {
      temp[Symbol.dispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mounts[Symbol.asyncDispose]();
    this.cacheMount[Symbol.dispose]();
    this.temp[Symbol.dispose]();
  }
}

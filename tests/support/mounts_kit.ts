/**
 * What tests over all data paths share: those that this kernel has, and a place where images are mounted by one of them.
 *
 * @module
 */
import { chooseDataPath, type DataPathChoice, type FsDriver } from "../../lib/mount/choose.ts";
import { ImageMounts } from "../../lib/mount/image_mounts.ts";
import { fuseTest } from "./fuse_mount_kit.ts";
import { TempDir } from "./temp_dir.ts";

const DRIVERS: readonly FsDriver[] = ["erofs-fuse", "fuse"];

/** How a {@link dataPathTest} mounts. */
export interface DataPathTestOptions {
  /** False: an image that the data path cannot take goes to the next one, as with "auto". */
  readonly strict?: boolean;
}

/**
 * A test of each data path; where one cannot be had, it fails.
 *
 * @param fn gets a place that is gone, with everything mounted there, after the test
 */
export function dataPathTest(
  name: string,
  fn: (kit: TestMounts) => Promise<void>,
  { strict = true }: DataPathTestOptions = {},
): void {
  for (const fsDriver of DRIVERS) {
    fuseTest(`${name} (${fsDriver})`, async () => {
      await using kit = await TestMounts.start(fsDriver, strict);
      await fn(kit);
    });
  }
}

/** Images in a folder of their own, by one data path, which go with it. */
export class TestMounts implements AsyncDisposable {
  private constructor(readonly temp: TempDir, readonly dataPath: DataPathChoice, readonly mounts: ImageMounts) {}

  static async start(fsDriver: FsDriver, strict: boolean): Promise<TestMounts> {
    const temp = TempDir.make();
    try {
      for (const name of ["mnt", "state"]) Deno.mkdirSync(temp.join(name));
      const dataPath = { ...await chooseDataPath(fsDriver, temp.join("state")), named: strict };
      const places = { mountpoint: temp.join("mnt"), stateDir: temp.join("state"), erofsDir: temp.join("erofs") };
      return new TestMounts(
        temp,
        dataPath,
        await ImageMounts.start({ ...places, dataPath, workers: 2, deadlineMs: 60_000 }),
      );
    } catch (error) {
      temp[Symbol.dispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mounts[Symbol.asyncDispose]();
    this.temp[Symbol.dispose]();
  }
}

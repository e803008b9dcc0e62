/**
 * The kernel's own cache on a disk that is too small.
 *
 * @module
 */
import assert from "node:assert/strict";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { cacheUsage } from "../../../lib/blob/cache/cache_usage.ts";
import type { SizeLimit } from "../../../lib/base/setting_values.ts";
import { KERNEL_LIMITS } from "../../../lib/mount/fscache/cull_limits.ts";
import { fuseTest } from "../../support/mount/fuse_mount_kit.ts";
import { CHUNK, CHUNKS } from "../../support/mount/mounted_synthetic.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { Ballast } from "./ballast.ts";
import { FscachePlace } from "./fscache_place.ts";

/** The images of a test take 1% of it. */
const DISK_BYTES = 128 << 20;
/** Time limit for the Worker that culls. */
const SETTLE_MS = 30_000;

/** Creates a file system of {@link DISK_BYTES} in the folder $1, mounted on $1/fs. */
const MAKE_DISK = `
truncate -s ${DISK_BYTES} "$1/disk"
mkfs.ext4 -q -b 4096 -m 0 -O ^has_journal "$1/disk"
mkdir "$1/fs"
mount -o loop "$1/disk" "$1/fs"`;

/** A small file system with a place on it. */
class SmallDisk implements AsyncDisposable {
  private constructor(private readonly dir: TempDir, readonly place: FscachePlace) {}

  static async make(minFree?: SizeLimit): Promise<SmallDisk> {
    const dir = TempDir.make();
    const { success, stderr } = await new Deno.Command("sh", { args: ["-ec", MAKE_DISK, "sh", dir.path] }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    return new SmallDisk(
      dir,
      await FscachePlace.make({ parent: dir.join("fs"), ...(minFree === undefined ? {} : { minFree }) }),
    );
  }

  /** Fills the disk until `freePercent` is left. */
  fill(freePercent: number): Ballast {
    return Ballast.at(this.dir.join("fs/ballast"), freePercent);
  }

  /** Bytes of the kernel's named files: those of unmounted images. */
  async kernelBytes(): Promise<number> {
    return (await cacheUsage(this.place.kit.temp.join("cache"))).kernelBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.place[Symbol.asyncDispose]();
    umount2(this.dir.join("fs"), MNT.DETACH);
    this.dir[Symbol.dispose]();
  }
}

/** More than the kernel keeps free by itself. */
const MIN_FREE_PERCENT = 30;

fuseTest(
  "readers on a full disk get errors or right bytes, and recover when there is space",
  async () => {
    await using disk = await SmallDisk.make({ percent: MIN_FREE_PERCENT });
    const { place } = disk;
    await using image = place.image();
    const path = await image.mount();
    const first = [0, 1, 2, 3];
    assert.deepEqual(await place.read(path, first), image.expected(first));
    const right = image.expected();
    {
      using _ballast = disk.fill(MIN_FREE_PERCENT - 1);
      const found = await place.read(path);
      assert.ok(found.every((answer, chunk) => answer === "ERR:EIO" || answer === right[chunk]), found.join());
      assert.ok(found.includes("ERR:EIO"), "the disk was not full");
    }
    assert.deepEqual(await place.read(path), right);
  },
);

fuseTest("on a full disk unused images leave the kernel's cache, and used ones stay", async () => {
  await using disk = await SmallDisk.make();
  const { place } = disk;
  await using old = place.image();
  await using used = place.image(true);
  assert.deepEqual(await place.read(await old.mount()), old.expected());
  await old.unmount();
  let kept = 0;
  while (kept < CHUNKS * CHUNK) kept = await disk.kernelBytes(); // files get their names after the unmount
  const path = await used.mount();
  const ballast = disk.fill((KERNEL_LIMITS.cull + KERNEL_LIMITS.stop) / 2);
  assert.deepEqual(await place.read(path), used.expected());
  let left = kept;
  for (const end = performance.now() + SETTLE_MS; left > 0 && performance.now() < end;) {
    left = await disk.kernelBytes();
  }
  assert.equal(left, 0, `of ${kept} bytes`);
  assert.deepEqual(await place.read(path), used.expected());
  ballast[Symbol.dispose]();
  const { asked } = place;
  assert.deepEqual(await place.read(await old.mount()), old.expected());
  assert.ok(place.asked > asked);
});

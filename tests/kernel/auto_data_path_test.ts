/**
 * Which data path "auto" chooses on this kernel, and the fallback for an image that this data path does not support.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { O, open } from "../../ffi/fcntl.ts";
import { Mapping, pageSize } from "../../ffi/sys_mman.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { chooseDataPath } from "../../lib/mount/choose.ts";
import { mountErofs } from "../../lib/mount/erofs/erofs_mount.ts";
import { imageOfOneFile, PROBE_CHUNKS, probeChunkBytes } from "../../lib/mount/erofs/probe.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { bootstrapWithHole, contradictoryBootstrap } from "../support/damage/contradictory_image.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { TestMounts } from "../support/mount/mounts_kit.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { TempDir } from "../support/temp_dir.ts";

fuseTest("auto is erofs-fanotify under a strong guard, else erofs-fuse, and gives the reason", async () => {
  using temp = TempDir.make();
  const folders = { stateDir: temp.path, cacheDir: temp.path };
  const what = "a process keeps descriptors", why = "no process keeps descriptors";
  assert.deepEqual(
    await chooseDataPath("auto", folders, { guard: { isStrong: true, what } }),
    { fsDriver: "erofs-fanotify", reason: what, named: false },
  );
  assert.deepEqual(
    await chooseDataPath("auto", folders, { guard: { isStrong: false, why } }),
    { fsDriver: "erofs-fuse", reason: `no erofs-fanotify: ${why}`, named: false },
  );
});

fuseTest("the image of the probe has a chunk for each page, however large those are on this machine", async () => {
  using temp = TempDir.make();
  for (const chunkBytes of [4096, 16384, 65536]) {
    const image = temp.join("image"), device = temp.join("device"), target = temp.join(`mnt-${chunkBytes}`);
    const content = Uint8Array.from({ length: PROBE_CHUNKS * chunkBytes }, (_, at) => 1 + Math.floor(at / chunkBytes));
    await Deno.mkdir(target);
    await Deno.writeFile(image, imageOfOneFile(chunkBytes));
    await Deno.writeFile(device, content);
    mountErofs({ image, devices: [device], target, readAheadKb: 128 });
    try {
      assert.deepEqual(await Deno.readFile(`${target}/file`), content);
    } finally {
      umount2(target, MNT.DETACH);
    }
  }
  assert.equal(probeChunkBytes(), pageSize());
});

const UNFIT = [
  ["two places for one chunk", contradictoryBootstrap, /Cannot read chunk 5 of blob 0/],
  ["a hole", bootstrapWithHole, /^Cannot write RAFS v6 chunk index: /],
] as const;

for (const fsDriver of TESTED_DATA_PATHS.filter((path) => path !== "fuse")) {
  fuseTest(`an image that EROFS cannot represent is served by fuse, with the reason (${fsDriver})`, async (t) => {
    const warnings: LogRecord[] = [];
    await using _quiet = await quietLogs(warnings);
    await using kit = await TestMounts.start(fsDriver, false);
    for (const [index, [what, makeBootstrap, reason]] of UNFIT.entries()) {
      await t.step(what, async () => {
        const bytes = makeBootstrap(), path = kit.temp.join(`${index}.boot`);
        await Deno.writeFile(path, bytes);
        using file = open(path, O.RDONLY);
        using mapping = Mapping.ofFile(file, bytes.length);
        const { address, length } = mapping;
        const image = {
          name: `image-${index}`,
          bootstrap: { address, length },
          tree: openBootstrap(mapping.bytes),
          blobs: [],
        };
        const mount = await kit.mounts.add(image, index + 1);
        assert.equal(mount.fsDriver, "fuse");
        assert.match(mount.refusal ?? "", reason);
        const { image: named, reason: logged } = warnings.at(-1)?.properties ?? {};
        assert.deepEqual([named, logged], [image.name, mount.refusal]);
        assert.deepEqual((await Array.fromAsync(Deno.readDir(mount.path))).map(({ name }) => name).sort(), ["a", "b"]);
        await mount[Symbol.asyncDispose]();
        await mount.released;
      });
    }
  });
}

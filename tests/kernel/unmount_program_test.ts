/**
 * Who unmounts the layers of containers: the daemon itself as long as the image below remains mounted, and umount(8)
 * where the end of a layer may be that of the image, for which the kernel waits.
 *
 * @module
 */
import { deepEqual, ok } from "node:assert/strict";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { ignore } from "../../lib/base/errors.ts";
import type { FsDriver } from "../../lib/mount/data_path.ts";
import { EROFS_TYPE } from "../../lib/mount/erofs/erofs_mount.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { sh } from "../support/process/shell.ts";
import { LazyServe } from "../support/serve/lazy_serve.ts";
import { TempDir } from "../support/temp_dir.ts";

/** A server with containers on one image, each a name. */
interface Containers {
  start(name: string): Promise<void>;
  /** Returns whether umount(8) was started for it. */
  stop(name: string): Promise<boolean>;
  restartServer(): Promise<void>;
  /** Mount points of EROFS. */
  images(): string[];
}

async function withContainers(fsDriver: FsDriver, test: (containers: Containers) => Promise<void>): Promise<void> {
  using temp = TempDir.make();
  const log = temp.join("umount.log");
  await sh(
    `mkdir "$1/bin"
    printf '#!/bin/sh\\necho "$*" >>"%s"\\nexec %s "$@"\\n' "$2" "$(command -v umount)" >"$1/bin/umount"
    chmod +x "$1/bin/umount"`,
    temp.path,
    log,
  );
  const env = { NYDUS_GD_MOUNT_FS_DRIVER: fsDriver, PATH: `${temp.path}/bin:${Deno.env.get("PATH")}` };
  await using serve = await LazyServe.start(temp.path, { env });
  const { driver } = serve;
  await test({
    start: async (name) => {
      await driver.call("GraphDriver.CreateReadWrite", { ID: name, Parent: "image" });
      await driver.call("GraphDriver.Get", { ID: name });
    },
    stop: async (name) => {
      const merged = `${temp.path}/home/${name}/merged`;
      ok(mountsBelow(merged).length === 1);
      await driver.call("GraphDriver.Put", { ID: name });
      deepEqual(mountsBelow(merged), []);
      return (await ignore(Deno.errors.NotFound, Deno.readTextFile(log)) ?? "").includes(` ${merged}\n`);
    },
    restartServer: async () => {
      await driver.stop();
      await driver.restart();
    },
    images: () => mountsBelow(temp.path).filter(({ fsType }) => fsType === EROFS_TYPE).map((one) => one.mountPoint),
  });
}

fuseTest(
  "umount(8) ends the layers whose image is not mounted any more, or was stacked on by another server",
  async () => {
    await withContainers("erofs-fuse", async ({ start, stop, restartServer, images }) => {
      for (const name of ["one", "two", "three", "four"]) await start(name);
      deepEqual(await stop("one"), false);
      await restartServer();
      deepEqual(await stop("two"), true, "the server does not know what the layer was stacked on");
      for (const image of images()) umount2(image, MNT.DETACH);
      deepEqual(images(), []);
      deepEqual(await stop("three"), true);
      await start("five");
      for (const image of images()) umount2(image, MNT.DETACH);
      deepEqual(await stop("five"), true, "no image is mounted");
      await start("six");
      for (const image of images()) umount2(image, MNT.DETACH);
      await start("seven");
      deepEqual(images().length, 1);
      deepEqual(await stop("six"), true, "another mount of the image is there");
      deepEqual(await stop("seven"), false);
    });
  },
);

fuseTest("umount(8) ends every layer on an image that FUSE shows", async () => {
  await withContainers("fuse", async ({ start, stop }) => {
    await start("one");
    deepEqual(await stop("one"), true);
  });
});

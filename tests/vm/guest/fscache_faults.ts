/**
 * Images whose registry fails, lies or is gone, served by a whole `serve` with the first tested data path.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TESTED_DATA_PATHS } from "../../support/mount/data_paths.ts";
import { fuseTest } from "../../support/mount/fuse_mount_kit.ts";
import { backendOf, LazyServe, startLazyRegistry } from "../../support/serve/lazy_serve.ts";
import { TempDir } from "../../support/temp_dir.ts";

/** Short timeouts, so that failures come soon, yet long enough for an emulated machine to succeed. */
const ENV = {
  NYDUS_GD_MOUNT_FS_DRIVER: TESTED_DATA_PATHS[0] ?? "auto",
  NYDUS_GD_PREFETCH_READ_AHEAD: "0",
  NYDUS_GD_FETCH_DEADLINE: "20s",
  NYDUS_GD_FETCH_RETRIES: "1",
};

fuseTest("a failing or lying registry is EIO, and cached data needs no registry", async (t) => {
  using temp = TempDir.make();
  await using registry = await startLazyRegistry();
  await using serve = await LazyServe.start(temp.path, { env: ENV, backend: backendOf(registry) });
  const { driver, files } = serve;
  const mayFail = files.filter((path) => path.startsWith("/lib/mod")).slice(0, 4);
  const others = files.filter((path) => !mayFail.includes(path));
  const read = async (paths: readonly string[]) => {
    const outcomes: string[] = [];
    for (const path of paths) outcomes.push(await serve.read(path));
    return new Set(outcomes);
  };

  /** While a fault lasts, files not read before cannot be read; afterwards everything works. */
  const fails = (name: string, fault: () => unknown, mend: () => unknown) =>
    t.step(name, async () => {
      const paths = mayFail.splice(0, 2);
      await fault();
      assert.deepEqual(await read(paths), new Set(["error"]));
      await mend();
      assert.deepEqual(await read(paths), new Set(["right"]));
    });

  assert.deepEqual(await read(others), new Set(["right"]));
  await fails("the registry is down", () => registry.goDown(), () => registry.comeBack());
  await t.step("the registry is down, and the server is restarted", async () => {
    await registry.goDown();
    await driver.call("GraphDriver.Put", { ID: "box" });
    assert.equal(await driver.stop(), 0);
    await driver.restart();
    await driver.call("GraphDriver.Get", { ID: "box" });
    await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
    assert.deepEqual(await read(others), new Set(["right"]));
    await registry.comeBack();
  });
  await fails("the chunks are wrong", () => registry.lasting = { kind: "corrupt" }, () => registry.lasting = undefined);
});

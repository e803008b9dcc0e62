/**
 * Converted images, pulled and run by a real dockerd.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../support/command.ts";
import { requireNoLeaks } from "../support/docker_leaks.ts";
import { eachDockerd } from "../support/dockerds.ts";
import { dir, file, opaque, tarOf, whiteout } from "../support/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";

const NO_NETWORK = ["--network", "none"];
const LARGE = "nothing asks for this\n".repeat(200_000);

eachDockerd(({ test }) => {
  test("an image of its registry, converted, is pulled as its bootstrap and runs lazily", async (parts) => {
    const { stack, registry } = parts;
    using temp = TempDir.make();
    const source = await registry.pushClassic("classic/app", [
      tarOf(dir("data"), file("data/text", "below"), file("data/gone", "1"), file("large", LARGE)),
      tarOf(whiteout("data/gone"), file("data/more", "above"), dir("none"), opaque("none")),
    ]);
    const target = `${registry.host}/lazy/app:1`;
    const { code, stderr } = await run(["convert", source, target, "--work-dir", temp.path]);
    assert.equal(code, 0, stderr);

    registry.proxy.reset();
    await stack.docker("pull", "--quiet", target);
    const pulled = registry.proxy.traffic().bytes;
    assert.ok(pulled < 200_000, `${pulled} bytes were pulled`);
    const script = "cat /data/text /data/more; busybox ls /data";
    const shown = await stack.docker("run", "--rm", ...NO_NETWORK, target, "/bin/busybox", "sh", "-c", script);
    assert.equal(shown, "belowabovemore\ntext");
    assert.deepEqual(await stack.docker("inspect", "--format", "{{len .RootFS.Layers}}", target), "1");
    await stack.docker("rmi", target);
    await requireNoLeaks(stack);
  });
});

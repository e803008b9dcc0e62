/**
 * Converted images, pulled and run by a real dockerd.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../support/process/command.ts";
import { busyboxLayer } from "../support/docker/docker_stack.ts";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import { PLATFORM } from "../support/image/nydus_images.ts";
import { runBeside } from "../support/docker/pull_command.ts";
import { dir, file, opaque, tarOf, whiteout } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";

const NO_NETWORK = ["--network", "none"];
const LARGE = "nothing asks for this\n".repeat(200_000);

eachDockerd(({ test }) => {
  test("an image converted in its registry is pulled as its bootstrap and runs lazily", async (parts) => {
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

  test("an image that refers to gzip layers is pulled as its bootstrap and reads them lazily", async (parts) => {
    const { stack, registry } = parts;
    using temp = TempDir.make();
    const source = await registry.pushClassic("classic/ref", [
      tarOf(dir("data"), file("data/text", "below"), file("data/gone", "1"), file("large", LARGE)),
      tarOf(whiteout("data/gone"), file("data/more", "above")),
    ]);
    const target = `${registry.host}/classic/ref:lazy`;
    const { code, stderr } = await run(["convert", "--oci-ref", source, target, "--work-dir", temp.path]);
    assert.equal(code, 0, stderr);
    registry.proxy.reset();
    await stack.docker("pull", "--quiet", target);
    const pulled = registry.proxy.traffic().bytes;
    assert.ok(pulled < 200_000, `${pulled} bytes were pulled`);
    const script = "cat /data/text /data/more; busybox ls /data; busybox wc -c </large";
    const shown = await stack.docker("run", "--rm", ...NO_NETWORK, target, "/bin/busybox", "sh", "-c", script);
    assert.equal(shown, `belowabovemore\ntext\n${LARGE.length}`);
    await stack.docker("rmi", target);
    await requireNoLeaks(stack);
  });

  test("platform features stay in the index, and Docker still selects the bootstrap manifest", async (parts) => {
    const { stack, registry, dir: folder } = parts;
    await writeLayout(`${folder}/source`, {
      layers: [{ tar: await busyboxLayer() }, { tar: tarOf(file("said", "lazily"), file("large", LARGE)) }],
      architecture: PLATFORM.architecture,
      osFeatures: ["x-fast"],
    });
    const target = `${registry.host}/lazy/asking:1`;
    const { code, stderr } = await run(["convert", `oci:${folder}/source:1`, target, "--work-dir", `${folder}/work`]);
    assert.equal(code, 0, stderr);
    await stack.docker("pull", "--quiet", target);
    assert.equal(await stack.docker("inspect", "--format", "{{len .RootFS.Layers}}", target), "1");
    assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, target, "/bin/cat", "/said"), "lazily");
    await stack.docker("rmi", target);
    await requireNoLeaks(stack);
  });

  test("a local image is converted from Docker's daemon or from docker save", async (parts) => {
    const { stack, registry, dir: folder } = parts;
    const source = await registry.pushClassic("classic/app", [
      tarOf(dir("data"), file("data/text", "below"), file("data/gone", "1")),
      tarOf(whiteout("data/gone"), file("data/more", "above")),
    ]);
    await stack.docker("pull", "--quiet", source);
    await stack.docker("tag", source, "own:1");
    await stack.docker("save", "--output", `${folder}/saved.tar`, "own:1");
    for (const [from, name] of [["docker:own:1", "one"], [`tar:${folder}/saved.tar`, "two"]] as const) {
      const target = `${registry.host}/lazy/${name}:1`;
      const { code, stderr } = await runBeside(stack, ["convert", from, target, "--work-dir", `${folder}/work`]);
      assert.equal(code, 0, stderr);
      await stack.docker("pull", "--quiet", target);
      const shown = await stack.docker("run", "--rm", ...NO_NETWORK, target, "/bin/busybox", "ls", "/data");
      assert.equal(shown, "more\ntext");
      const checked = await runBeside(stack, ["check", "--blobs", "--against", from, target]);
      assert.equal(checked.code, 0, checked.stdout + checked.stderr);
      await stack.docker("rmi", target);
    }
    const lazy = await runBeside(stack, ["convert", "docker:no/such:1", `${registry.host}/lazy/none:1`]);
    assert.deepEqual([lazy.code, /Docker has no such image/.test(lazy.stderr)], [1, true], lazy.stderr);
    await stack.docker("rmi", "own:1", source);
    await requireNoLeaks(stack);
  });
});

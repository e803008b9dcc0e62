/**
 * Converted images, pulled by a real containerd.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import { run } from "../support/process/command.ts";
import { Containerd } from "../support/docker/containerd.ts";
import { containerdMissing } from "../support/docker/containerd_stack.ts";
import { DockerRegistry, dockerRegistryMissing } from "../support/backend/docker_registry.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";

const missing = dockerRegistryMissing ?? containerdMissing;
if (missing !== undefined) console.log(`skipped, containerd: ${missing}`);

Deno.test({
  name: "containerd pulls all of a converted image by its name, through its bootstrap manifest",
  ignore: missing !== undefined,
  fn: async () => {
    using temp = TempDir.make();
    await using registry = await DockerRegistry.start();
    await writeLayout(temp.join("source"), {
      layers: [{ tar: tarOf(dir("d"), file("d/f", "x".repeat(300_000))) }],
      osFeatures: ["x-fast"],
      attested: "how it was built",
    });
    const target = `${registry.host}/app:1-lazy`;
    const made = await run(["convert", `oci:${temp.join("source")}:1`, target, "--work-dir", temp.join("work")]);
    assert.equal(made.code, 0, made.stderr);

    await using sandbox = await Sandbox.start();
    await using containerd = await Containerd.start({ sandbox, dir: temp.path });
    const snapshotter = ["--snapshotter", "native"];
    await containerd.ctr("images", "pull", "--plain-http", "--platform", "linux/amd64", ...snapshotter, target);
    assert.match(await containerd.ctr("images", "check", ...snapshotter), /complete \(\d\/\d\)/);
    await Deno.mkdir(temp.join("mnt"));
    await containerd.ctr("images", "mount", ...snapshotter, target, temp.join("mnt"));
    const mounted = `/proc/${sandbox.initPid}/root${temp.join("mnt")}`;
    const shown = await run(["inspect", `${mounted}/image/image.boot`, "/d/f", "-o", "json"]);
    assert.equal(shown.code, 0, shown.stderr);
  },
});

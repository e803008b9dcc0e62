/**
 * Lazy images in user namespaces with containerd, as Kubernetes asks for them (`hostUsers: false`): a client that is not
 * told of another way copies the image, to give it other owners.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../support/process/command.ts";
import { containerd2, CONTAINERD_17, withContainerd } from "../support/docker/containerd_stack.ts";
import { busyboxLayer } from "../support/docker/docker_stack.ts";
import { pusherInto } from "../support/docker/large_files_image.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";

const IN_NAMESPACE = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536", "--remap-labels"];

for (const [program, flags] of [[CONTAINERD_17, []], [await containerd2(), ["--local"]]] as const) {
  if (program.missing !== undefined) console.log(`skipped, ${program.name}: ${program.missing}`);
  Deno.test({
    name: `${program.name}: a container in a user namespace sees a lazy image with its own owners`,
    ignore: program.missing !== undefined,
    fn: () =>
      withContainerd(async (stack) => {
        const { registry } = stack;
        await Deno.chmod(stack.dir, 0o711); // the container's root must be able to pass through
        const owner = { uid: 7, gid: 8 };
        const files = tarOf(dir("srv", owner), file("srv/f", "layer", { ...owner, mode: 0o640 }));
        await pusherInto(registry, "app").classic([new Uint8Array(await busyboxLayer()), files], { tag: "1" });
        const lazy = `${registry.host}/app:1-lazy`;
        const made = await run(["convert", `${registry.host}/app:1`, lazy, "--work-dir", `${stack.dir}/work`]);
        assert.equal(made.code, 0, made.stderr);
        await stack.pull(lazy, flags);
        await stack.begin(lazy, "one", IN_NAMESPACE);
        const stat = (...names: string[]) => stack.exec("one", "/bin/busybox", "stat", "-c", "%u:%g", ...names);
        assert.equal(await stat("/", "/bin", "/srv/f"), "0:0\n0:0\n7:8");
        await stack.exec("one", "/bin/sh", "-c", "echo more >>/srv/f; echo new >/new");
        assert.equal(await stack.exec("one", "/bin/cat", "/srv/f", "/new"), "layermore\nnew");
        await stack.crashDriver();
        assert.equal(await stat("/srv/f", "/new"), "7:8\n0:0");
        await stack.end("one");
      }, program),
  });
}

/**
 * Lazy and ordinary images with a Docker that has no graph drivers: its images are in containerd, with our snapshotter.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run as runCommand } from "../support/process/command.ts";
import { requireNoSnapshots } from "../support/docker/containerd_stack.ts";
import type { Stack } from "../support/docker/docker_stack.ts";
import { docker28, testsOn } from "../support/docker/dockerds.ts";
import {
  contentOf,
  fetchesMetadataOnly,
  largeFilesImage,
  largeFilesLayer,
  pusherInto,
  sumsOf,
} from "../support/docker/large_files_image.ts";
import { pull, runBeside } from "../support/docker/pull_command.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";

const NO_NETWORK = ["--network", "none"];
const SUM = "/bin/sha256sum";

const { test } = testsOn(await docker28());

test("ordinary images are pulled, run, built upon, committed, saved, loaded, pushed and removed", async (parts, t) => {
  const { stack, registry, dir: folder } = parts;
  const reference = `${registry.host}/classic:1`;
  const layers = [await largeFilesLayer(), tarOf(dir("data"), file("data/1", "above"))];
  await pusherInto(registry, "classic").classic(layers, { tag: "1" });
  await t.step("docker info shows our snapshotter", async () => {
    assert.equal(await stack.docker("info", "--format", "{{.Driver}}"), "nydus-gd");
    assert.match(await stack.docker("info", "--format", "{{.DriverStatus}}"), /io\.containerd\.snapshotter\.v1/);
  });
  await t.step("a container runs on a pulled image; diff and cp show what it changed", async () => {
    await stack.docker("pull", "--quiet", reference);
    assert.equal(await runIn(parts, reference, "/bin/cat", "/data/1"), "above");
    await stack.docker("run", "-d", "--name", "one", ...NO_NETWORK, reference, "/bin/sleep", "1000");
    await stack.docker("exec", "one", "/bin/sh", "-c", "echo new >/data/new; busybox rm /data/2");
    assert.deepEqual((await stack.docker("diff", "one")).split("\n").sort(), ["A /data/new", "C /data", "D /data/2"]);
    await stack.docker("cp", "one:/data/3", `${folder}/3`);
    assert.deepEqual(await Deno.readFile(`${folder}/3`), contentOf(3));
  });
  await t.step("a commit of a container, and a build on its image, have the files of both", async () => {
    await stack.docker("commit", "one", "committed");
    await stack.docker("rm", "--force", "one");
    assert.equal(await runIn(parts, "committed", "/bin/cat", "/data/new"), "new");
    await build(parts, reference, "built");
    assert.equal(await runIn(parts, "built", "/bin/cat", "/data/built", "/data/1"), "copied\nranabove");
  });
  await t.step(
    "what was saved is loaded again, and what was pushed is pulled, after all images were removed",
    async () => {
      await stack.docker("save", "--output", `${folder}/saved.tar`, "committed", "built");
      const pushed = `${registry.host}/other:1`;
      await stack.docker("tag", "built", pushed);
      await stack.docker("push", "--quiet", pushed);
      await stack.docker("rmi", "committed", "built", pushed, reference);
      await requireNothingLeft(parts);
      await stack.docker("load", "--quiet", "--input", `${folder}/saved.tar`);
      assert.equal(await runIn(parts, "committed", "/bin/cat", "/data/new"), "new");
      await stack.docker("pull", "--quiet", pushed);
      assert.equal(await runIn(parts, pushed, "/bin/cat", "/data/built"), "copied\nran");
      await stack.docker("rmi", "committed", "built", pushed);
    },
  );
  await requireNothingLeft(parts);
});

for (const form of ["data blobs and a bootstrap", "an index that convert made"] as const) {
  test(`an image as ${form} is pulled without its data, which containers get on demand`, async (parts, t) => {
    const { stack, registry, dir: folder } = parts;
    const reference = `${registry.host}/lazy:1`;
    const isStandard = form === "data blobs and a bootstrap";
    if (isStandard) {
      await pusherInto(registry, "lazy").standard(await largeFilesImage(), { tag: "1" });
    } else {
      await pusherInto(registry, "lazy").classic([await largeFilesLayer()], { tag: "0" });
      const words = ["convert", `${registry.host}/lazy:0`, reference, "--work-dir", `${folder}/work`];
      const made = await runCommand(words);
      assert.equal(made.code, 0, made.stderr);
    }
    await t.step("nydus-gd pull has Docker pull it", async () => {
      await fetchesMetadataOnly(registry, async () => {
        const { code, stdout, stderr } = await pull(stack, [reference]);
        assert.deepEqual(
          [code, /^\S+ is available as image [0-9a-f]{12} and starts lazily$/m.test(stdout)],
          [0, true],
          stderr,
        );
      });
      const { stderr } = await pull(stack, ["--prefetch", reference]);
      assert.match(
        stderr,
        /Docker \S+ keeps its images in containerd, for which there is no --prefetch\nhint: leave it out/,
      );
      await stack.docker("rmi", reference);
    });
    await t.step("docker pull fetches no data, and what a container has read is fetched once", async () => {
      await fetchesMetadataOnly(registry, () => stack.docker("pull", "--quiet", reference));
      await stack.docker("run", "-d", "--name", "one", ...NO_NETWORK, reference, "/bin/sleep", "1000");
      assert.equal(await stack.docker("exec", "one", SUM, "/data/1"), sumsOf(1));
      assert.equal(await registry.bytesDuring(() => runIn(parts, reference, SUM, "/data/1")), 0);
    });
    await t.step("data that was never pulled cannot be pushed to another registry, or converted", async () => {
      const elsewhere = `${(await parts.startRegistry()).host}/lazy:1`;
      await stack.docker("tag", reference, elsewhere);
      const { code, stderr } = await stack.daemon.docker(["push", "--quiet", elsewhere]);
      if (isStandard) assert.match(stderr, /content digest sha256:[0-9a-f]{64}: not found/);
      else assert.equal(code, 0, "the bootstrap says where the data is");
      const converted = await runBeside(stack, ["convert", `docker:${reference}`, `oci:${folder}/converted`]);
      const reason = isStandard
        ? /: Docker does not have its data\nhint: .*convert that$/m
        : /it is a nydus image already/;
      assert.match(converted.stderr, reason);
      await stack.docker("rmi", elsewhere);
    });
    await t.step("the container outlives the daemon, and is restarted", async () => {
      await stack.driver.kill();
      await stack.restartDriver();
      assert.equal(await stack.docker("exec", "one", SUM, "/data/1", "/data/2"), sumsOf(1, 2));
      await stack.docker("restart", "--time", "1", "one");
      assert.equal(await stack.docker("exec", "one", SUM, "/data/3"), sumsOf(3));
    });
    await t.step("a commit of its container, and a build on the image, have the files of both", async () => {
      await stack.docker("exec", "one", "/bin/sh", "-c", "echo new >/data/new");
      await stack.docker("commit", "one", "committed");
      await stack.docker("rm", "--force", "one");
      assert.equal(await runIn(parts, "committed", "/bin/cat", "/data/new"), "new");
      await build(parts, reference, "built");
      assert.equal(await runIn(parts, "built", "/bin/cat", "/data/built"), "copied\nran");
      assert.equal(await runIn(parts, "built", SUM, "/data/4"), sumsOf(4));
    });
    await t.step("push of the image and of what was made of it, remove, pull again", async () => {
      const names = ["copy", "made"].map((name) => `${registry.host}/${name}:1`);
      for (const [index, from] of [reference, "built"].entries()) {
        await stack.docker("tag", from, names[index] ?? "");
        await stack.docker("push", "--quiet", names[index] ?? "");
      }
      await stack.docker("rmi", "committed", "built", reference, ...names);
      await requireNothingLeft(parts);
      for (const name of names) {
        await stack.docker("pull", "--quiet", name);
        assert.equal(await runIn(parts, name, SUM, "/data/4"), sumsOf(4));
      }
      await stack.docker("rmi", ...names);
      await requireNothingLeft(parts);
    });
  }, { env: { NYDUS_GD_PREFETCH_READ_AHEAD: "0" } });
}

/** Runs a program in a new container. */
function runIn({ stack }: Stack, image: string, ...command: string[]): Promise<string> {
  return stack.docker("run", "--rm", ...NO_NETWORK, image, ...command);
}

/** Builds an image upon another: a file is copied, and a program adds a line to it. */
async function build({ stack, dir: folder }: Stack, from: string, name: string): Promise<void> {
  const context = `${folder}/${name}`;
  await Deno.mkdir(context);
  await Deno.writeTextFile(`${context}/file`, "copied\n");
  const lines = [`FROM ${from}`, "COPY file /data/built", "RUN echo -n ran >>/data/built"];
  await Deno.writeTextFile(`${context}/Dockerfile`, lines.join("\n"));
  await stack.daemon.must(["build", "--quiet", "--network", "none", "--tag", name, context], {
    env: { DOCKER_BUILDKIT: "1" },
  });
}

/** Removes what Docker keeps for later, and asserts that the snapshotter has nothing left. */
async function requireNothingLeft({ stack }: Stack): Promise<void> {
  await stack.docker("system", "prune", "--all", "--force", "--volumes");
  assert.equal(await stack.docker("images", "--all", "--quiet"), "");
  await requireNoSnapshots(stack.sandbox, stack.dir);
}

/**
 * The life cycle of containers of lazy and ordinary images on each dockerd; after each part nothing of it is left.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { DockerDaemon } from "../../lib/demo/docker_daemon.ts";
import { leaksOf, requireNoLeaks } from "../support/docker/docker_leaks.ts";
import type { DockerStack } from "../support/docker/docker_stack.ts";
import { DOCKER_26, eachDockerd } from "../support/docker/dockerds.ts";
import { fixtureOf, readListing } from "../support/rafs/rafs_fixtures.ts";
import { dir as tarDir, file, hardlink, symlink, tarOf, whiteout } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

const LAZY = "v6-prefetch-fs";
const FILE = "/lib/mod03.txt";
const DIGEST = ["/bin/sha256sum", FILE];
const NO_NETWORK = ["--network", "none"];

/** Content of an ordinary image's second layer, which another layer removes, replaces and links. */
const BELOW = [
  tarDir("d"),
  file("d/gone", "1".repeat(1000)),
  file("d/kept", "2".repeat(3000)),
  file("big", "3".repeat(9999)),
];
const ABOVE = [
  whiteout("d/gone"),
  file("new", "5".repeat(500)),
  hardlink("again", "new"),
  symlink("link", "big"),
  file("d/kept", "short"),
];

eachDockerd(({ test, dockerd }) => {
  test("containers of lazy and ordinary images run, and are removed completely", async (parts, t) => {
    const { stack, registry, dir } = parts;
    const lazy = await registry.pushLazy(LAZY, "lazy/life");
    const classic = await registry.pushClassic("classic/life", [
      tarOf(tarDir("lib"), file("lib/mod03.txt", "classic")),
    ]);
    const expected = readListing(fixtureOf(LAZY).listing).find(({ path }) => path === FILE)?.sha256 ?? "";
    const digests = { [lazy]: expected, [classic]: createHash("sha256").update("classic").digest("hex") };
    const run = (...args: string[]) => stack.docker("run", "--rm", ...NO_NETWORK, ...args);
    const step = (name: string, body: () => Promise<void>) =>
      t.step(name, async () => {
        await body();
        await requireNoLeaks(stack);
      });
    /** Runs a part for an image of each kind; `digest`: output of sha256sum for {@link FILE}. */
    const each = async (body: (image: string, digest: string) => Promise<void>) => {
      for (const [image, digest] of Object.entries(digests)) await body(image, `${digest}  ${FILE}`);
    };

    await step(
      "docker inspect and history describe an image before any of its data is fetched",
      async () => {
        await each(async (image) => void await stack.docker("pull", "--quiet", image));
        const inspect = async () => JSON.parse(await stack.docker("image", "inspect", lazy))[0];
        await until(
          "the image is mounted ahead",
          async () => (await inspect()).GraphDriver.Data.fs_driver !== "none, not mounted",
          50,
        );
        await stack.restartDriver();
        registry.proxy.reset();
        const about = await inspect();
        const { kind, bootstrap, fs_driver, blobs } = about.GraphDriver.Data;
        assert.deepEqual([kind, fs_driver], ["lazy", "none, not mounted"]);
        assert.ok(bootstrap.startsWith(`${stack.dir}/data/nydus-gd/`) && bootstrap.endsWith("/diff/image/image.boot"));
        assert.match(blobs, /^[0-9a-f]{64} \d+ bytes$/);
        assert.equal(about.RootFS.Layers.length, 2);
        const history = await stack.docker("history", "--quiet", "--no-trunc", lazy);
        assert.equal(history.split("\n").length, 2);
        assert.equal(registry.proxy.traffic().requests, 0);
      },
    );

    await step(
      "what a container has written is there after it was stopped and started",
      () =>
        each(async (image, digest) => {
          await stack.docker("run", "--detach", "--name", "one", ...NO_NETWORK, image, "/bin/sleep", "1000");
          assert.equal(await stack.docker("exec", "one", ...DIGEST), digest);
          await stack.docker("exec", "one", "/bin/sh", "-c", "echo kept > /kept");
          await stack.docker("stop", "--time", "0", "one");
          await requireNoLeaks(stack);
          await stack.docker("start", "one");
          assert.equal(await stack.docker("exec", "one", "/bin/cat", "/kept"), "kept");
          await stack.docker("kill", "one");
          await stack.docker("rm", "one");
        }),
    );

    await step("docker inspect of a mounted lazy image shows data path, home and fetched bytes", async () => {
      const [about] = JSON.parse(await stack.docker("image", "inspect", lazy));
      const { kind, home, blobs } = about.GraphDriver.Data;
      assert.deepEqual([kind, home], ["lazy", `registry ${registry.host}/lazy/life`]);
      assert.match(blobs, /^[0-9a-f]{64} \d+ bytes, [1-9]\d* fetched$/);
    });

    await step(
      "a container with a read-only root has health checks and a tmpfs, and cannot write elsewhere",
      () =>
        each(async (image, digest) => {
          const health = ["--health-cmd", `/bin/cat ${FILE}`, "--health-interval", "1s"];
          const options = ["--read-only", "--tmpfs", "/lib2", ...health];
          await stack.docker(
            "run",
            "--detach",
            "--name",
            "two",
            ...NO_NETWORK,
            ...options,
            image,
            "/bin/sleep",
            "1000",
          );
          await healthy(stack, "two");
          assert.equal(await stack.docker("exec", "two", ...DIGEST), digest);
          assert.equal(await stack.docker("exec", "two", "/bin/sh", "-c", "echo in > /lib2/f; cat /lib2/f"), "in");
          const written = await stack.daemon.docker(["exec", "two", "/bin/touch", "/lib/x"]);
          assert.match(written.stderr, /Read-only file system/);
          await stack.docker("rm", "--force", "two");
        }),
    );

    await step(
      "a new volume is filled with the image's files, and outlives its container",
      () =>
        each(async (image, digest) => {
          assert.equal(await run("--volume", "filled:/lib", image, ...DIGEST), digest);
          const [found] = (await run("--volume", "filled:/v", image, "/bin/sha256sum", "/v/mod03.txt")).split(" ");
          assert.equal(found, digest.split(" ")[0]);
          await stack.docker("volume", "rm", "filled");
        }),
    );

    await step(
      "docker cp copies in both directions, and docker diff shows what came in",
      () =>
        each(async (image, digest) => {
          await stack.docker("create", "--name", "three", ...NO_NETWORK, image, "/bin/sleep", "1000");
          await stack.docker("cp", `three:${FILE}`, `${dir}/out`);
          assert.equal(
            createHash("sha256").update(await Deno.readFile(`${dir}/out`)).digest("hex"),
            digest.split(" ")[0],
          );
          await stack.docker("cp", `${dir}/out`, "three:/in");
          assert.match(await stack.docker("diff", "three"), /^A \/in$/m);
          await stack.docker("rm", "three");
        }),
    );

    await step("a commit can be built on, and pruning removes everything with its volumes", async () => {
      await each(async (image) => {
        await stack.docker(
          "run",
          "--name",
          "four",
          "--volume",
          "/v",
          ...NO_NETWORK,
          image,
          "/bin/sh",
          "-c",
          "echo 4 > /four",
        );
        await stack.docker("commit", "four", "committed");
        const dockerfile = new TextEncoder().encode("FROM committed\nRUN /bin/rm /four\nRUN /bin/mkdir /built\n");
        await stack.daemon.must(["build", ...NO_NETWORK, "--tag", "built", "-"], { input: dockerfile });
        const listed = await run("built", "/bin/sh", "-c", "ls -d /four /built 2>/dev/null; exit 0");
        assert.equal(listed, "/built");
        await stack.docker("rm", "--volumes", "four");
      });
      await requireNoLeaks(stack);
      await stack.docker("run", "--detach", "--name", "kept", ...NO_NETWORK, lazy, "/bin/sleep", "1000");
      await stack.docker("system", "prune", "--all", "--volumes", "--force");
      assert.equal(await stack.docker("exec", "kept", ...DIGEST), `${digests[lazy]}  ${FILE}`);
      assert.equal(await stack.docker("images", "--format", "{{.Repository}}"), lazy.replace(":latest", ""));
      await stack.docker("rm", "--force", "kept");
      await stack.docker("system", "prune", "--all", "--volumes", "--force");
      assert.deepEqual(await stack.layers(), []);
    });

    await t.step("docker export contains the whole tree; dockerd 24 and later never unmounts it", async () => {
      await stack.docker("pull", "--quiet", lazy);
      await stack.docker("create", "--name", "five", ...NO_NETWORK, lazy, "/bin/sh");
      await stack.docker("export", "--output", `${dir}/export.tar`, "five");
      const { stdout } = await new Deno.Command("tar", { args: ["-xOf", `${dir}/export.tar`, FILE.slice(1)] }).output();
      assert.equal(createHash("sha256").update(stdout).digest("hex"), digests[lazy]);
      await stack.docker("rm", "five");
      if (dockerd !== DOCKER_26) return await requireNoLeaks(stack);
      const leaks = await leaksOf(stack);
      assert.match(leaks.join("; "), /^no container: \w{64}; 0 containers run, mounted: \S+$/);
      await stack.restartDaemon();
      assert.deepEqual(await stack.overlays(), [], "stopping dockerd unmounts what it left mounted");
    });
  });

  test("sizes of ordinary images and their containers equal those of overlay2", async ({ stack, registry }) => {
    const above = [tarOf(...BELOW, file("big2", "4".repeat(5000))), tarOf(...ABOVE)];
    const classic = await registry.pushClassic("classic/sizes", above);
    await using overlay2 = await stack.startOverlay2();
    const [ours, theirs] = [await sizesOn(stack.daemon, classic), await sizesOn(overlay2, classic)];
    assert.deepEqual(ours, theirs);
  });
});

/** Docker's sizes of an image, of a container that changed it, and of its commit. */
async function sizesOn(daemon: DockerDaemon, image: string): Promise<Record<string, string>> {
  const script = "rm /d/kept; echo changed > /big; echo added > /added; mkdir /folder; chmod 700 /link";
  await daemon.must(["pull", "--quiet", image]);
  await daemon.must(["run", "--name", "changed", ...NO_NETWORK, image, "/bin/sh", "-c", script]);
  await daemon.must(["commit", "changed", "committed"]);
  const container = await daemon.must(["inspect", "--size", "--format", "{{.SizeRw}} of {{.SizeRootFs}}", "changed"]);
  const images = await daemon.must([
    "image",
    "inspect",
    "--format",
    "{{.Size}} {{.RootFS.Layers}}",
    image,
    "committed",
  ]);
  const history = await daemon.must(["history", "--human=false", "--format", "{{.Size}}", "committed"]);
  const format = "{{.Type}}: {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}";
  const usage = await daemon.must(["system", "df", "--format", format]);
  await daemon.must(["rm", "changed"]);
  // The committed layer has its own times.
  return { container, images: images.replace(/ sha256:\w{64}\]$/, ""), history, usage };
}

/** Polls, as docker has no command that waits for this. */
function healthy(stack: DockerStack, container: string): Promise<void> {
  const status = () => stack.docker("inspect", "--format", "{{.State.Health.Status}}", container);
  return until(`${container} is healthy`, async () => await status() === "healthy", 100);
}

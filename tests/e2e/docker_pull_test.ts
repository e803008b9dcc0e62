/**
 * Pulls interrupted at different moments.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { kill } from "../../lib/demo/sandbox.ts";
import { Throttle } from "../../lib/demo/throttle.ts";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { type DockerStack, INSTALLED } from "../support/docker/docker_stack.ts";
import { DOCKER_26, eachDockerd, testsOn } from "../support/docker/dockerds.ts";
import { pusherInto } from "../support/docker/large_files_image.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

const NO_NETWORK = ["--network", "none"];

eachDockerd(({ test }) => {
  test("a cancelled pull leaves nothing, at any stage, and the next one is complete", async (parts, t) => {
    const { stack, registry } = parts;
    const contents = Array.from({ length: 5 }, () => new Uint8Array(randomBytes(400_000)));
    const layers = contents.map((content, index) => tarOf(file(`big${index}`, content)));
    const images = {
      ordinary: await registry.pushClassic("big", layers),
      lazy: await registry.pushLazy("v6-prefetch-fs", "lazy/big", layers),
    };
    // 20.10 downloads three layers in parallel: on this link they arrive one after the other, the last one late
    await using link = new Throttle({ upstream: `http://${registry.host}`, bytesPerSecond: 1_500_000, delayMs: 20 });
    for (const [kind, image] of Object.entries(images)) {
      const slow = image.replace(registry.host, link.host);
      for (const [when, isTime] of moments(stack, link).slice(kind === "lazy" ? -1 : 0)) {
        await t.step(`${kind}: a pull that is cancelled ${when} leaves nothing`, async () => {
          link.reset();
          await cancelPull(stack, slow, isTime);
          await requireNoLeaks(stack);
        });
      }
      await t.step(`${kind}: the next pull is complete`, async () => {
        await stack.docker("pull", "--quiet", image);
        const files = contents.map((_, index) => `/big${index}`);
        const lines = await stack.docker("run", "--rm", ...NO_NETWORK, image, "/bin/sha256sum", ...files);
        const expected = contents.map((content, index) =>
          `${createHash("sha256").update(content).digest("hex")}  /big${index}`
        );
        assert.deepEqual(lines.split("\n"), expected);
        await stack.docker("rmi", image);
        await requireNoLeaks(stack);
      });
    }
  });
});

/** Moments of a pull, by what was downloaded and unpacked so far. */
function moments(stack: DockerStack, link: Throttle): [string, () => boolean | Promise<boolean>][] {
  return [
    ["before the first layer has arrived", () => link.traffic().bytes > 100_000],
    ["in the middle of the download", () => link.traffic().bytes > 900_000],
    ["with two layers unpacked", async () => (await stack.layers()).length >= 2],
  ];
}

eachDockerd(({ test }) => {
  test("a pull that ends with a crash of dockerd leaves nothing, neither parts of a layer nor whole ones", async (parts) => {
    const { stack, registry } = parts;
    const other = await registry.pushClassic("other");
    await stack.docker("pull", "--quiet", other);
    const before = await stack.layers();
    const layers = Array.from({ length: 3 }, (_, index) => tarOf(...manyFiles(`zeros${index}`, 100)));
    const image = await registry.pushLazy("v6-prefetch-fs", "lazy/zeros", layers);
    for (let attempt = 0; attempt < 3; attempt++) {
      const pull = stack.daemon.spawn(["pull", image]);
      await until("layers are unpacked", async () => (await stack.layers()).length > before.length + 1 + attempt);
      await stack.crashDaemon();
      assert.notEqual((await pull.output()).code, 0, "the pull completed before dockerd was killed");
      await requireNoLeaks(stack);
    }
    await stack.docker("pull", "--quiet", image);
    const script = "busybox ls / | busybox grep -c zeros";
    assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, image, "/bin/busybox", "sh", "-c", script), "300");
    await stack.docker("rmi", image);
    await requireNoLeaks(stack);
    assert.deepEqual(await stack.layers(), before);
  });
});

testsOn(INSTALLED).test("so does the very first pull, when dockerd has no records yet", async (parts) => {
  const { stack, registry } = parts;
  await pusherInto(registry, "zeros").classic([tarOf(...manyFiles("zeros", 100))], { tag: "1" });
  const image = `${registry.host}/zeros:1`;
  const pull = stack.daemon.spawn(["pull", image]);
  const isUnpacking = async () => {
    const [layer] = await stack.layers();
    return layer !== undefined && await fileCount(`${stack.dir}/data/image/${DRIVER_NAME}/layerdb/sha256`) === 0;
  };
  await until("the first layer is unpacked", isUnpacking);
  await stack.crashDaemon();
  assert.notEqual((await pull.output()).code, 0, "the pull completed before dockerd was killed");
  assert.deepEqual(await stack.layers(), []);
  await stack.docker("pull", "--quiet", image);
  await stack.docker("rmi", image);
  await requireNoLeaks(stack);
});

testsOn(DOCKER_26).test(
  "a pull that is cancelled while it unpacks leaves nothing, and the next one is complete",
  async (parts) => {
    const { stack, registry } = parts;
    const count = 300;
    const layer = tarOf(...manyFiles("zeros", count));
    const classic = await registry.pushClassic("classic/zeros", [layer]);
    // dockerd disconnects within the layer, and four more times, before it removes the layer.
    await cancelPull(stack, classic, async () => {
      for (const name of await stack.layers()) {
        if (await fileCount(`${stack.dir}/data/${DRIVER_NAME}/${name}/diff`) > 10) return true;
      }
      return false;
    });
    await stack.docker("pull", "--quiet", classic);
    const script = "busybox ls / | busybox grep -c zeros; cat /zeros* | busybox wc -c";
    const found = await stack.docker("run", "--rm", ...NO_NETWORK, classic, "/bin/busybox", "sh", "-c", script);
    assert.equal(found, `${count}\n${count << 20}`);
  },
);

/** Files of 1 MiB each. */
function manyFiles(name: string, count: number): ReturnType<typeof file>[] {
  return Array.from({ length: count }, (_, index) => file(`${name}-${index}`, new Uint8Array(1 << 20)));
}

/** Pulls until the given moment, cancels, and waits until dockerd has removed the partial layers. */
async function cancelPull(stack: DockerStack, image: string, isTime: () => boolean | Promise<boolean>): Promise<void> {
  const pull = stack.daemon.spawn(["pull", image]);
  await until("it is time to cancel", isTime);
  kill(pull, "SIGINT");
  assert.notEqual((await pull.output()).code, 0, "the pull completed before it could be cancelled");
  await until("dockerd has removed the partial layers", async () => (await stack.layers()).length === 0);
}

/** Number of entries of a folder; 0 if it does not exist. */
async function fileCount(folder: string): Promise<number> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).length;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

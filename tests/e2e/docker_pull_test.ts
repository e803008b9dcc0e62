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
import { requireNoLeaks } from "../support/docker_leaks.ts";
import type { DockerStack } from "../support/docker_stack.ts";
import { DOCKER_26, eachDockerd, testsOn } from "../support/dockerds.ts";
import { file, tarOf } from "../support/tar_builder.ts";
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
    // 20.10 downloads three layers at once: a link on which they come one after the other, and the last late
    await using link = new Throttle({ upstream: `http://${registry.host}`, bytesPerSecond: 1_500_000, delayMs: 20 });
    for (const [kind, image] of Object.entries(images)) {
      const slow = image.replace(registry.host, link.host);
      for (const [when, isTime] of moments(stack, link).slice(kind === "lazy" ? -1 : 0)) {
        await t.step(`${kind}: ${when}`, async () => {
          link.reset();
          await cancelPull(stack, slow, isTime);
          await requireNoLeaks(stack);
        });
      }
      await t.step(`${kind}: the next pull`, async () => {
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

/** Moments of a pull: what has come, and what was unpacked of it. */
function moments(stack: DockerStack, link: Throttle): [string, () => boolean | Promise<boolean>][] {
  return [
    ["before the first layer is here", () => link.traffic().bytes > 100_000],
    ["in the middle of the download", () => link.traffic().bytes > 900_000],
    ["with two layers unpacked", async () => (await stack.layers()).length >= 2],
  ];
}

testsOn(DOCKER_26).test(
  "a pull that is cancelled while it unpacks leaves nothing, and the next one is complete",
  async (parts) => {
    const { stack, registry } = parts;
    const count = 300;
    const zeros = new Uint8Array(1 << 20);
    const layer = tarOf(...Array.from({ length: count }, (_, index) => file(`zeros${index}`, zeros)));
    const classic = await registry.pushClassic("classic/zeros", [layer]);
    // dockerd hangs up in the middle of the layer, and four times more, before it has the layer removed.
    await cancelPull(stack, classic, async () => {
      for (const name of await stack.layers()) {
        if (await fileCount(`${stack.dir}/data/${DRIVER_NAME}/${name}/diff`) > 10) return true;
      }
      return false;
    });
    await stack.docker("pull", "--quiet", classic);
    const script = "busybox ls / | busybox grep -c zeros; cat /zeros* | busybox wc -c";
    const found = await stack.docker("run", "--rm", ...NO_NETWORK, classic, "/bin/busybox", "sh", "-c", script);
    assert.equal(found, `${count}\n${count * zeros.length}`);
  },
);

/** Pulls until it is time to break off, and waits until dockerd has cleared away what it began. */
async function cancelPull(stack: DockerStack, image: string, isTime: () => boolean | Promise<boolean>): Promise<void> {
  const pull = stack.daemon.spawn(["pull", image]);
  await until("it is time to break off", isTime);
  kill(pull, "SIGINT");
  assert.notEqual((await pull.output()).code, 0, "the pull was faster");
  await until("dockerd has cleared away what it began", async () => (await stack.layers()).length === 0);
}

/** Entries of a folder; 0 where there is none. */
async function fileCount(folder: string): Promise<number> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).length;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

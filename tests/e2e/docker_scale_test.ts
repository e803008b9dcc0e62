/**
 * Many containers at once, and images with as many layers as Docker allows.
 *
 * @module
 */
import assert from "node:assert/strict";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { file, tarOf, whiteout } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

const LAZY = "v6-prefetch-fs";
const NO_NETWORK = ["--network", "none"];
const CONTAINERS = 100;
/** Number of concurrent commands. */
const CLIENTS = 12;
/** Docker refuses an image with more layers. */
const MAX_LAYERS = 125;

eachDockerd(({ test }) => {
  test("a hundred containers of lazy and ordinary images start at once, each with its own changes", async (parts) => {
    const { stack, registry } = parts;
    const images = [await registry.pushLazy(LAZY, "lazy/many"), await registry.pushClassic("classic/many")];
    for (const image of images) await stack.docker("pull", "--quiet", image);
    registry.proxy.reset();
    const names = Array.from({ length: CONTAINERS }, (_, index) => `many-${index}`);
    const script = 'echo "$0" > /lib-own; cat /lib-own; sha256sum /lib/mod03.txt 2>/dev/null; exec sleep 1000';
    const waiting = names.map((name, index) => ({ name, image: images[index % images.length] ?? "" }));
    const start = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const { name, image } = next;
        await stack.docker("run", "--detach", "--name", name, ...NO_NETWORK, image, "/bin/sh", "-c", script, name);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, start));
    await requireNoLeaks(stack);
    assert.equal((await stack.overlays()).length, CONTAINERS);
    assert.ok(registry.proxy.traffic().bytes < 100_000, `${registry.proxy.traffic().bytes} bytes came`);

    const digests = new Set<string>();
    const logs = (await stack.docker("inspect", "--format", "{{.Name}} {{.LogPath}}", ...names)).split("\n");
    for (const [index, line] of logs.entries()) {
      const [name, path = ""] = line.split(" ");
      const [own, digest] = await logged(path, index % 2 === 0 ? 2 : 1);
      assert.equal(`/${own}`, name);
      if (digest !== undefined) digests.add(digest);
    }
    assert.equal(digests.size, 1);
    await stack.docker("rm", "--force", ...names);
    await requireNoLeaks(stack);
    assert.deepEqual(await stack.overlays(), []);
  });

  test("images of 125 layers show every layer, and dockerd accepts no more", async ({ stack, registry }, t) => {
    const aboveBusybox = (count: number) =>
      Array.from({ length: count }, (_, index) => {
        const removed = index % 10 === 9 ? [whiteout(`f${index - 1}`)] : [];
        return tarOf(file(`f${index}`, `${index}`), file("top", `${index}`), ...removed);
      });
    const last = MAX_LAYERS - 3;
    const script = `cat /f0 /f${last - 1} /top; ls /f8 2>/dev/null; echo; echo new > /f0; cat /f0`;
    const images = {
      // one layer is busybox, and one of the lazy image is the bootstrap
      ordinary: await registry.pushClassic("classic/deep", aboveBusybox(MAX_LAYERS - 1)),
      lazy: await registry.pushLazy(LAZY, "lazy/deep", aboveBusybox(MAX_LAYERS - 2)),
    };
    for (const [kind, image] of Object.entries(images)) {
      await t.step(kind, async () => {
        await stack.docker("pull", "--quiet", image);
        const count = await stack.docker("image", "inspect", "--format", "{{len .RootFS.Layers}}", image);
        assert.equal(count, String(MAX_LAYERS));
        const top = kind === "lazy" ? last : last + 1;
        const found = await stack.docker("run", "--name", "deep", ...NO_NETWORK, image, "/bin/sh", "-c", script);
        assert.equal(found, `0${last - 1}${top}\nnew`);
        assert.equal(await stack.docker("diff", "deep"), "C /f0");
        assert.match((await stack.daemon.docker(["commit", "deep", "deeper"])).stderr, /max depth exceeded/);
        await stack.docker("rm", "deep");
        await requireNoLeaks(stack);
        await stack.docker("rmi", image);
        assert.deepEqual(await stack.layers(), []);
      });
    }
  });
});

/** The first lines that a container wrote to its log file; waits for them, as they follow the start. */
async function logged(path: string, count: number): Promise<string[]> {
  let lines: string[] = [];
  await until(`the container wrote ${count} lines`, async () => {
    lines = (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
    return lines.length >= count;
  });
  return lines.map((line) => (JSON.parse(line).log as string).trim());
}

/**
 * dockerd with `--userns-remap`: root in a container is an unprivileged user of the machine.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { INSTALLED } from "../support/docker/docker_stack.ts";
import { DOCKER_26, testsOn } from "../support/docker/dockerds.ts";
import { dir, entriesOf, file, tarOf } from "../support/archive/tar_builder.ts";
import { FIRST_ID, USERNS, withSubordinateIds } from "../support/docker/userns_dockerd.ts";

const NO_NETWORK = ["--network", "none"];
for (const dockerd of [INSTALLED, DOCKER_26]) {
  const { test } = testsOn(withSubordinateIds(dockerd));

  test("with user namespaces ordinary images run, and owners are shifted in both directions", async (parts) => {
    const { stack, registry, dir: scratch } = parts;
    const above = tarOf(dir("srv", { uid: 7, gid: 8 }), file("srv/f", "layer", { uid: 7, gid: 8, mode: 0o640 }));
    const image = await registry.pushClassic("userns/classic", [above]);
    await stack.docker("pull", "--quiet", image);
    const script = "cat /proc/self/uid_map; /bin/stat -c '%u:%g' /srv/f /bin /; echo made >/srv/new; cat /srv/new";
    const output = await stack.docker("run", "--name", "box", ...NO_NETWORK, image, "sh", "-c", script);
    assert.deepEqual(output.split("\n").map((line) => line.trim().replace(/\s+/g, " ")), [
      `0 ${FIRST_ID} 65536`,
      "7:8",
      "0:0",
      "0:0",
      "made",
    ]);

    assert.match(await stack.docker("diff", "box"), /^A \/srv\/new$/m);
    const upper = await stack.docker("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", "box");
    assert.ok(upper.startsWith(`${scratch}/data/${FIRST_ID}.${FIRST_ID}/${DRIVER_NAME}/`), upper);
    const { uid, gid } = await Deno.lstat(`${upper}/srv/new`);
    assert.deepEqual([uid, gid], [FIRST_ID, FIRST_ID]);

    await stack.docker("commit", "box", "committed");
    await stack.docker("rm", "box");
    const again = ["run", "--rm", ...NO_NETWORK, "committed", "stat", "-c", "%u:%g", "/srv/new", "/srv/f"];
    assert.equal(await stack.docker(...again), "0:0\n7:8");

    const saved = await stack.daemon.must(["save", "--output", `${scratch}/saved.tar`, "committed"])
      .then(() => layerEntries(`${scratch}/saved.tar`));
    assert.deepEqual(saved.filter(({ name }) => name.startsWith("srv/")), [
      { name: "srv/", owner: "7:8" },
      { name: "srv/f", owner: "7:8" },
      { name: "srv/", owner: "7:8" },
      { name: "srv/new", owner: "0:0" },
    ]);
  }, USERNS);
}

/** Names and owners in the layers of an image that `docker save` wrote, lowest layer first. */
async function layerEntries(path: string): Promise<{ name: string; owner: string }[]> {
  const run = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("tar", { args }).output();
    if (!success) throw new Error(`tar ${args.join(" ")} failed`);
    return stdout;
  };
  const decoder = new TextDecoder();
  const [manifest] = JSON.parse(decoder.decode(await run("-xOf", path, "manifest.json"))) as { Layers: string[] }[];
  const layers = manifest?.Layers ?? [];
  const entries = await Promise.all(layers.map(async (layer) => entriesOf(await run("-xOf", path, layer))));
  return entries.flat().map(({ name, uid, gid }) => ({ name: decoder.decode(name), owner: `${uid}:${gid}` }));
}

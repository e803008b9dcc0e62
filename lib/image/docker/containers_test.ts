import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DockerContainers } from "./containers.ts";
import { dockerImageDir } from "./files.ts";

const WEB = "1".repeat(64), DB = "2".repeat(64), MAKING = "3".repeat(64);

/** A Docker data-root with containers, each with its layer. */
async function writeContainer(dataRoot: string, id: string, layerId: string, config: string | undefined) {
  const mount = `${dataRoot}/image/nydus-gd/layerdb/mounts/${id}`;
  await Deno.mkdir(mount, { recursive: true });
  await Deno.writeTextFile(`${mount}/mount-id`, layerId);
  if (config === undefined) return;
  await Deno.mkdir(`${dataRoot}/containers/${id}`, { recursive: true });
  await Deno.writeTextFile(`${dataRoot}/containers/${id}/config.v2.json`, config);
}

Deno.test("a layer has the container that it was created for, by its current name", async () => {
  using temp = TempDir.make();
  const imageDir = dockerImageDir(temp.join("nydus-gd"));
  const containers = new DockerContainers();
  const ask = async (...layers: string[]) => Object.fromEntries(await containers.of(imageDir, new Set(layers)));
  assert.deepEqual(await ask("a"), {}, "there is no Docker yet");
  await writeContainer(temp.path, WEB, "a", '{"Name": "/web", "State": {"Running": true}}');
  await writeContainer(temp.path, DB, "b\n", '{"Name": "/db"}');
  await writeContainer(temp.path, MAKING, "c", undefined);
  assert.deepEqual(await ask("a", "b", "c", "build"), {
    a: { id: WEB, name: "web" },
    b: { id: DB, name: "db" },
    c: { id: MAKING, name: undefined },
  });
  await writeContainer(temp.path, WEB, "a", '{"Name": "/www"}');
  assert.deepEqual(await ask("a"), { a: { id: WEB, name: "www" } });
  await Deno.remove(temp.join(`image/nydus-gd/layerdb/mounts/${WEB}`), { recursive: true });
  assert.deepEqual(await ask("a"), {});
});

Deno.test("the command of a container is known once Docker has recorded it", async () => {
  using temp = TempDir.make();
  const imageDir = dockerImageDir(temp.join("nydus-gd"));
  const containers = new DockerContainers();
  const ask = (layer: string) => containers.commandOf(imageDir, layer);
  assert.equal(await ask("a"), undefined);
  await writeContainer(temp.path, WEB, "a", undefined);
  assert.equal(await ask("a"), undefined);
  const config = { Env: ["PATH=/first", "A=PATH=/no", "PATH=/opt/bin:/bin"], WorkingDir: "/srv" };
  await writeContainer(temp.path, WEB, "a", JSON.stringify({ Path: "node", Args: ["main.js"], Config: config }));
  assert.deepEqual(await ask("a"), { argv: ["node", "main.js"], path: "/opt/bin:/bin", workingDir: "/srv" });
  await writeContainer(temp.path, DB, "b", '{"Path": "sh", "Args": null, "Config": {"Env": null, "WorkingDir": ""}}');
  const { argv, path, workingDir } = await ask("b") ?? {};
  assert.deepEqual([argv, workingDir], [["sh"], "/"]);
  assert.match(path ?? "", /:\/usr\/bin:/);
  await writeContainer(temp.path, DB, "b", '{"Path": 1}');
  assert.equal(await ask("b"), undefined);
});

Deno.test("the command of a container that is known is read without a look at the others", async () => {
  using temp = TempDir.make();
  const imageDir = dockerImageDir(temp.join("nydus-gd"));
  const containers = new DockerContainers();
  await writeContainer(temp.path, WEB, "a", '{"Path": "node", "Args": [], "Config": {}}');
  assert.equal((await containers.of(imageDir, new Set(["a"]))).get("a")?.id, WEB);
  await Deno.rename(`${imageDir}/layerdb/mounts`, `${imageDir}/layerdb/moved`);
  assert.deepEqual((await containers.commandOf(imageDir, "a"))?.argv, ["node"]);
});

Deno.test("Docker's records are read once, however many containers are asked about at once", async () => {
  using temp = TempDir.make();
  const imageDir = dockerImageDir(temp.join("nydus-gd"));
  const layers = Array.from({ length: 20 }, (_, index) => `layer${index}`);
  for (const [index, layer] of layers.entries()) {
    await writeContainer(
      temp.path,
      `${index}`.padStart(64, "0"),
      layer,
      `{"Path": "${layer}", "Args": [], "Config": {}}`,
    );
  }
  const containers = new DockerContainers();
  const read = Deno.readTextFile;
  const reads: string[] = [];
  Deno.readTextFile = (path, options) => {
    reads.push(String(path));
    return read(path, options);
  };
  try {
    const commands = await Promise.all(layers.map((layer) => containers.commandOf(imageDir, layer)));
    assert.deepEqual(commands.map((command) => command?.argv), layers.map((layer) => [layer]));
  } finally {
    Deno.readTextFile = read;
  }
  assert.equal(reads.filter((path) => path.endsWith("/mount-id")).length, layers.length);
});

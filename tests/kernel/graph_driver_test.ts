import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { GraphDriverProcess, RemoteError, serveCommand } from "../support/serve/graph_driver_process.ts";
import { rootTest } from "../support/root_test.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { namesIn } from "../support/layer/store_layers.ts";

function test(name: string, run: (driver: GraphDriverProcess, scratch: string) => Promise<void>): void {
  rootTest(name, async () => {
    using temp = TempDir.make();
    try {
      await using driver = await GraphDriverProcess.start(temp.path);
      await run(driver, temp.path);
    } finally {
      unmountBelow(temp.path);
    }
  });
}

const EMPTY_HOME = [".lock", ".making", ".removing", "l"];

test("a restart needs no Init, and a stop leaves mounts in place", async (driver, scratch) => {
  const home = `${scratch}/home`;
  await rejects(() => driver.call("GraphDriver.Status"), /no GraphDriver\.Init yet/);
  await driver.call("GraphDriver.Init", { Home: home, Opts: null, UIDMaps: null, GIDMaps: null });
  await driver.call("GraphDriver.Create", { ID: "base" });
  equal(await driver.apply("base", tarOf(file("f", "content"))), 7);
  await driver.call("GraphDriver.CreateReadWrite", { ID: "box", Parent: "base" });
  const { Dir } = await driver.call("GraphDriver.Get", { ID: "box" });
  equal(Dir, `${home}/box/merged`);
  equal(await driver.stop(), 0);
  equal(Deno.readTextFileSync(`${Dir}/f`), "content");
  await driver.restart();
  deepEqual(await driver.call("GraphDriver.Exists", { ID: "box" }), { Exists: true });
  await driver.call("GraphDriver.Put", { ID: "box" });
  deepEqual(mountsBelow(home), []);
});

test("the log has the format of the settings file", async (driver, scratch) => {
  await driver.stop();
  const settings = `${scratch}/settings.toml`;
  const logPath = `${scratch}/log`;
  await Deno.writeTextFile(settings, '[log]\nformat = "text"\n');
  await driver.restart({ args: ["--settings", settings], logLevel: "info", logPath });
  await driver.stop();
  match(await Deno.readTextFile(logPath), /^\S+ info +serve: serving socket=/m);
});

test("the log says which data path was chosen, and why", async (driver, scratch) => {
  await driver.stop();
  const logPath = `${scratch}/log`;
  await driver.restart({ logLevel: "info", logPath });
  await driver.stop();
  const lines = (await Deno.readTextFile(logPath)).trimEnd().split("\n").map((line) => JSON.parse(line));
  const chosen = lines.find(({ message }) => message === "data path chosen");
  match(chosen?.fsDriver, /^(erofs-|)f/);
  match(chosen?.reason, /\w/);
});

test("another home is accepted if nothing of the current one is mounted", async (driver, scratch) => {
  const init = (name: string) => driver.call("GraphDriver.Init", { Home: `${scratch}/${name}`, Opts: null });
  await init("one");
  await driver.call("GraphDriver.Create", { ID: "base" });
  await driver.apply("base", tarOf(file("f")));
  await driver.call("GraphDriver.Create", { ID: "box", Parent: "base" });
  await driver.call("GraphDriver.Get", { ID: "box" });
  await rejects(() => init("two"), /1 layers of ".*\/one" are mounted/);
  await driver.call("GraphDriver.Cleanup");
  await init("two");
  deepEqual(await driver.call("GraphDriver.Exists", { ID: "base" }), { Exists: false });
  await init("one");
  deepEqual(await driver.call("GraphDriver.Exists", { ID: "base" }), { Exists: true });
});

test("a second server on the same root is refused by name", async (driver, scratch) => {
  await driver.call("GraphDriver.Init", { Home: `${scratch}/home`, Opts: null });
  const [program, ...args] = serveCommand(`${scratch}/second.sock`, `${scratch}/root`);
  const second = await new Deno.Command(program, {
    args,
    stdout: "null",
    stderr: "piped",
  }).output();
  equal(second.success, false);
  match(new TextDecoder().decode(second.stderr), /another nydus-gd uses it/);
  await driver.call("GraphDriver.Status");
});

test("a configuration key that changed in an unsupported way is refused by name", async (driver, scratch) => {
  const device = { backend: { type: "localfs", config: { dir: scratch } } };
  const init = async (cache: object) => {
    await Deno.writeTextFile(
      `${scratch}/config.json`,
      JSON.stringify({ device: { ...device, cache }, mode: "direct" }),
    );
    const opts = { Home: `${scratch}/home`, Opts: [`nydus-gd.config=${scratch}/config.json`] };
    return await driver.call("GraphDriver.Init", opts);
  };
  await rejects(init({ type: "dummycache" }), /cache\.type is dummycache/);
  await rejects(init({ type: "blobcache", compressed: true }), /device\.cache\.compressed is not supported/);
  await init({ type: "blobcache" });
});

/** Numbers of responses after which the process is killed, one life each: from "at once" to "after everything". */
const KILL_AFTER = [0, 1, 2, 3, 5, 8, 12, 16];

test(
  "after a kill at work the driver restores everything it confirmed, and nothing partial",
  async (driver, scratch) => {
    const home = `${scratch}/home`;
    await driver.call("GraphDriver.Init", { Home: home, Opts: null });
    for (const killAfter of KILL_AFTER) {
      const answered = new Set<string>();
      const enough = Promise.withResolvers<void>();
      if (killAfter === 0) enough.resolve();
      const note = (what: string) => {
        answered.add(what);
        if (answered.size === killAfter) enough.resolve();
      };
      const life = async (id: string) => {
        try {
          await driver.call("GraphDriver.Create", { ID: id });
          note(`${id} created`);
          await driver.apply(id, tarOf(file("f", id), file("big", new Uint8Array(300_000))));
          note(`${id} applied`);
          await driver.call("GraphDriver.CreateReadWrite", { ID: `${id}-box`, Parent: id });
          note(`${id}-box created`);
          await driver.call("GraphDriver.Get", { ID: `${id}-box` });
          note(`${id}-box mounted`);
        } catch (error) {
          if (error instanceof RemoteError) throw error; // a broken connection is expected
        }
      };
      const lives = ["a", "b", "c", "d"].map(life);
      await enough.promise;
      await driver.kill();
      await Promise.all(lives);
      await driver.restart();
      for (const id of ["a", "b", "c", "d"]) await checkLife(driver, home, id, answered);
      deepEqual(namesIn(home), EMPTY_HOME, `killed after ${killAfter} answers`);
      deepEqual(namesIn(`${home}/l`), []);
      deepEqual([...namesIn(`${home}/.making`), ...namesIn(`${home}/.removing`)], []);
      deepEqual(mountsBelow(home), []);
    }
  },
);

/** Asserts that everything confirmed exists, and everything that exists is complete. Removes it. */
async function checkLife(driver: GraphDriverProcess, home: string, id: string, answered: Set<string>): Promise<void> {
  const exists = async (id: string) => (await driver.call("GraphDriver.Exists", { ID: id }))["Exists"] === true;
  const box = `${id}-box`;
  if (answered.has(`${id} applied`)) ok(await exists(id), `${id} is lost`);
  if (answered.has(`${box} created`)) ok(await exists(box), `${box} is lost`);
  if (answered.has(`${box} mounted`)) equal(mountsBelow(`${home}/${box}`).length, 1);
  for (const layer of [box, id]) {
    if (!await exists(layer)) continue;
    const { Dir } = await driver.call("GraphDriver.Get", { ID: layer });
    const names = namesIn(String(Dir));
    if (names.length > 0 || answered.has(`${id} applied`)) {
      deepEqual(names, ["big", "f"]);
      equal(Deno.readTextFileSync(`${Dir}/f`), id);
      equal(Deno.statSync(`${Dir}/big`).size, 300_000);
    }
    await driver.call("GraphDriver.Remove", { ID: layer });
  }
}

/**
 * State files that are damaged while `serve` is not running, under a container of a lazy image. The next one starts, and
 * the container reads on; or it says in one sentence which file is in the way, and how to go on. Never a wrong byte.
 *
 * @module
 */
import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { processStat } from "../../ffi/procfs.ts";
import { ignore } from "../../lib/base/errors.ts";
import { collectOffline } from "../../lib/image/gc/collect_offline.ts";
import { keeperPath } from "../../lib/mount/keeper/keeper.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { LazyContainer } from "../support/serve/lazy_container.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

/** Damages of a file's text; undefined: the file is removed. */
const empty = () => "";
const truncated = (text: string) => text.slice(0, text.length / 2);
const garbage = (text: string) => text.replaceAll('"', "\0");
const ofAnotherVersion = () => '{"version":99}';
const removed = () => undefined;

/** Starts another container of the image, which must read it. */
async function startOther(container: LazyContainer): Promise<void> {
  await container.driver.call("GraphDriver.CreateReadWrite", { ID: "other", Parent: "image" });
  const { Dir } = await container.driver.call("GraphDriver.Get", { ID: "other" });
  deepEqual(await Deno.readFile(`${Dir}/2`), container.content(2), "the next container reads");
}

/** Damages the files of the state folder after the server was killed, and starts the next one under a reader. */
async function startDamaged(
  container: LazyContainer,
  names: readonly string[],
  damage: (text: string) => string | undefined,
) {
  await using readers = await container.read(1);
  await container.driver.kill();
  for (const name of names) {
    const path = `${container.stateDir}/${name}`;
    const damaged = damage(await Deno.readTextFile(path).catch(() => "[]"));
    if (damaged !== undefined) await Deno.writeTextFile(path, damaged);
    else await ignore(Deno.errors.NotFound, Deno.remove(path));
  }
  await container.driver.restart();
  return await readers.stop();
}

for (const fsDriver of TESTED_DATA_PATHS) {
  fuseTest(`a container reads on, or gets errors, whichever state file was damaged (${fsDriver})`, async (t) => {
    await using container = await LazyContainer.start(fsDriver);
    const keeper = container.keeperName;
    for (
      const [names, damage, mayFail] of [
        [["image-numbers.json"], truncated, false],
        [["offered-images.json"], empty, false],
        [[keeper], garbage, false],
        [["image-numbers.json", keeper], ofAnotherVersion, false],
        [["mounted-images.json"], empty, false],
        [["mounted-images.json", "offered-images.json"], ofAnotherVersion, false],
        [["mounted-images.json", keeper], removed, false],
        [["graph-driver.json"], truncated, false],
        [["graph-driver.json"], removed, false],
        [["image-numbers.json", "mounted-images.json"], removed, false],
        [["image-numbers.json", "mounted-images.json", keeper], truncated, false],
        [["image-numbers.json", "image-numbers.json.copy", "mounted-images.json"], garbage, true],
      ] as const
    ) {
      await t.step(`${names.join(", ")}: ${damage.name}`, async () => {
        const { wrong, errors } = await startDamaged(container, names, damage);
        equal(wrong, 0);
        if (!mayFail) deepEqual(errors, []);
        await startOther(container);
        await container.driver.call("GraphDriver.Put", { ID: "other" });
        await container.driver.call("GraphDriver.Remove", { ID: "other" });
      });
    }
  });
}

fuseTest(
  "what is in the place of a state file is named with a remedy, which lets the next server take over",
  async () => {
    using temp = TempDir.make();
    const logPath = temp.join("log");
    await using container = await LazyContainer.start("fuse", { logPath });
    for (const name of ["image-numbers.json", "mounted-images.json", "graph-driver.json"]) {
      const path = `${container.stateDir}/${name}`;
      await container.driver.kill();
      const aside = `${path}.before`;
      await Deno.rename(path, aside);
      await Deno.mkdir(path);
      await Deno.writeTextFile(`${path}/file`, "");
      equal((await container.driver.begin().status).code, 1);
      const said = (await Deno.readTextFile(logPath)).trim().split("\n").slice(-2).join("\n");
      match(said, new RegExp(`^nydus-gd: cannot read "${path}": is a directory\nhint: mv ${path} ${path}\\.aside$`));
      await Deno.rename(path, `${path}.aside`);
      await Deno.rename(aside, path);
      await container.driver.restart();
      deepEqual(await Deno.readFile(`${container.root}/2`), container.content(2));
    }
  },
);

fuseTest("a keeper whose record is damaged is ended with its session", async () => {
  const container = await LazyContainer.start("fuse");
  const pid = container.keeperPid;
  await container.driver.kill();
  await Deno.writeTextFile(keeperPath(container.stateDir), "");
  await container.driver.restart();
  await container[Symbol.asyncDispose]();
  await until("the keeper has ended", () => /^[ZX]$/.test(processStat(pid)?.[0] ?? "Z"));
});

fuseTest(
  "without the file that says what dockerd wanted, and its copy, the log says what readers wait for",
  async () => {
    using temp = TempDir.make();
    const logPath = temp.join("log");
    await using container = await LazyContainer.start("fuse", { logPath });
    const files = ["graph-driver.json", "graph-driver.json.copy"].map((name) => `${container.stateDir}/${name}`);
    await container.driver.kill();
    for (const path of files) await Deno.rename(path, `${path}.before`);
    await container.driver.restart();
    const warning = /"remedy":"systemctl restart docker".*programs that read lazy images wait/;
    await until("the log says so", async () => warning.test(await Deno.readTextFile(logPath)));
    await container.driver.kill();
    for (const path of files) await Deno.rename(`${path}.before`, path);
    await container.driver.restart();
    deepEqual(await Deno.readFile(`${container.root}/2`), container.content(2));
  },
);

for (const fsDriver of TESTED_DATA_PATHS.filter((driver) => driver === "erofs-fuse" || driver === "erofs-fanotify")) {
  const title = "an image whose file for the kernel was damaged under its mount is mounted anew for the next container";
  fuseTest(`${title} (${fsDriver})`, async () => {
    await using container = await LazyContainer.start(fsDriver);
    await container.driver.kill();
    const path = `${container.stateDir}/image.erofs`;
    await Deno.writeFile(path, (await Deno.readFile(path)).map((byte) => byte ^ 0xff));
    await container.driver.restart();
    await startOther(container);
    await container.driver.call("GraphDriver.Put", { ID: "box" });
    container.root = (await container.driver.call("GraphDriver.Get", { ID: "box" }))["Dir"] as string;
    deepEqual(await Deno.readFile(`${container.root}/3`), container.content(3));
    await container.driver.call("GraphDriver.Put", { ID: "other" });
  });
}

for (const fsDriver of TESTED_DATA_PATHS) {
  fuseTest(`without any record of an image's number, the next container reads (${fsDriver})`, async () => {
    await using container = await LazyContainer.start(fsDriver);
    await container.driver.kill();
    for (const name of ["image-numbers.json", "mounted-images.json"]) {
      await Deno.remove(`${container.stateDir}/${name}`);
    }
    await container.driver.restart();
    await startOther(container);
    await container.driver.call("GraphDriver.Put", { ID: "other" });
  });
}

fuseTest("a bootstrap that is damaged gives errors that name it, and a remedy", async () => {
  const container = await LazyContainer.start("fuse");
  await container.driver.kill();
  const path = container.bootstrapPath;
  const whole = await Deno.readFile(path);
  for (const damage of [whole.subarray(0, whole.length / 2), whole.map((byte) => byte ^ 0xff), new Uint8Array()]) {
    await Deno.writeFile(path, damage);
    await container.driver.restart();
    await container.driver.call("GraphDriver.CreateReadWrite", { ID: "other", Parent: "image" });
    await rejects(container.driver.call("GraphDriver.Get", { ID: "other" }), ({ message }: Error) => {
      match(message, /hint: remove the image and its containers, and pull it again/);
      return message.includes(path);
    });
    await container.driver.call("GraphDriver.Remove", { ID: "other" });
    await container.driver.kill();
  }
  await Deno.writeFile(path, whole);
  await container.driver.restart();
  await container[Symbol.asyncDispose]();
});

fuseTest("gc without a daemon removes no data of mounted images, nor of damaged layers", async () => {
  await using container = await LazyContainer.start("fuse");
  deepEqual(await Deno.readFile(`${container.root}/2`), container.content(2));
  await container.driver.kill();
  const root = container.driverRoot;
  const limits = { maxSize: { bytes: 1 << 30 }, minFree: { bytes: 0 } };
  const unwanted = async (all: boolean) =>
    (await collectOffline({ root, cacheDir: `${root}/cache`, limits }, { dryRun: true, all })).blobs.map(({ id }) =>
      id
    );
  deepEqual(await unwanted(true), []);
  const lost = [`${container.stateDir}/mounted-images.json`, container.layerRecordPath];
  for (const path of lost) {
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, "");
    deepEqual([await unwanted(true), await unwanted(false)], [[], []], path);
    await Deno.writeTextFile(path, text);
  }
  await container.driver.restart();
});

/**
 * Servers and keepers killed in sequence; tests/stress/takeover_test.ts kills at random.
 *
 * @module
 */
import { deepEqual, doesNotMatch, equal, match, notEqual } from "node:assert/strict";
import { dirname } from "node:path";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { daemonChecks } from "../../lib/doctor/daemon_checks.ts";
import { Installation } from "../../lib/doctor/installation.ts";
import { Keeper, keeperPath } from "../../lib/mount/keeper/keeper.ts";
import { run } from "../support/process/command.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { LazyContainer } from "../support/serve/lazy_container.ts";
import { TempDir } from "../support/temp_dir.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { until, untilEqual } from "../support/until.ts";

fuseTest("a dead keeper is replaced, and the next server takes over from the new one", async () => {
  await using container = await LazyContainer.start();
  await using readers = await container.read(1);
  const former = container.keeperPid;
  Deno.kill(former, "SIGKILL");
  await until("the keeper is replaced", () => container.keeperPid !== former);
  await container.driver.kill();
  await container.driver.restart();
  notEqual(container.keeperPid, former);
  const { wrong, errors } = await readers.stop();
  deepEqual({ wrong, errors }, { wrong: 0, errors: [] });
});

for (const fsDriver of TESTED_DATA_PATHS) {
  fuseTest(`a stopped server leaves its images to the next one (${fsDriver})`, async () => {
    await using container = await LazyContainer.start(fsDriver);
    await using readers = await container.read(1);
    equal(await container.driver.stop(), 0);
    await container.driver.restart();
    const { wrong, errors } = await readers.stop();
    deepEqual({ wrong, errors }, { wrong: 0, errors: [] });
    deepEqual(await warningsOf(container), [], "no read is left waiting");
  });
}

for (const fsDriver of TESTED_DATA_PATHS) {
  fuseTest(`an image that was taken over is released when it is no longer used (${fsDriver})`, async () => {
    await using container = await LazyContainer.start(fsDriver);
    await Deno.readFile(`${container.root}/3`);
    for (let restarts = 0; restarts < 2; restarts++) {
      equal(await container.driver.stop(), 0);
      await container.driver.restart();
    }
    await Deno.readFile(`${container.root}/4`);
    deepEqual(await freed(container), [], "the container uses it");
    await container.driver.call("GraphDriver.Put", { ID: "box" });
    await untilEqual(() => freed(container), [container.blobId]); // the kernel may delay this
    container.root = String((await container.driver.call("GraphDriver.Get", { ID: "box" }))["Dir"]);
    deepEqual(await Deno.readFile(`${container.root}/5`), container.content(5));
  });
}

/** Ids of the blobs that `nydus-gd gc --all` frees. */
async function freed({ adminSocket }: LazyContainer): Promise<string[]> {
  const { code, stdout, stderr } = await run(["gc", "--all", "-o", "json", "--admin-socket", adminSocket]);
  equal(code, 0, stderr);
  return JSON.parse(stdout).blobs.map(({ id }: { id: string }) => id);
}

/** Asserts that reads fail, as nobody answers them. */
const FAIL_CLOSED = TESTED_DATA_PATHS.filter((fsDriver) => fsDriver !== "erofs-fanotify");
const BY_SESSION = FAIL_CLOSED.filter((fsDriver) => fsDriver !== "erofs-fscache");

for (const fsDriver of FAIL_CLOSED) {
  fuseTest(
    `after the death of server and keeper reads fail, never wrongly, and the next start works (${fsDriver})`,
    async () => {
      await using container = await LazyContainer.start(fsDriver);
      await bothDie(container);
    },
  );
}

for (const fsDriver of BY_SESSION) {
  fuseTest(`readers get errors after both died, even if their descriptors are still held (${fsDriver})`, async () => {
    await using container = await LazyContainer.start(fsDriver);
    const held = await Keeper.take(keeperPath(container.stateDir)); // like a thread that was killed during a mount
    try {
      await bothDie(container);
    } finally {
      for (const fd of held?.values() ?? []) fd[Symbol.dispose]();
    }
  });
}

/** Kills server and keeper during a read, and starts both and the container again. */
async function bothDie(container: LazyContainer): Promise<void> {
  await using readers = await container.read(1);
  await container.driver.kill();
  Deno.kill(container.keeperPid, "SIGKILL");
  await container.driver.restart();
  equal((await readers.stop()).wrong, 0);
  const lost = /1 mounted layer lost its image/;
  match((await warningsOf(container)).join(), lost);
  match(await healthOf(container), lost);
  await startAnew(container);
  deepEqual(await warningsOf(container), []);
  equal(await healthOf(container), "well");
  await using again = await container.read(1);
  const { wrong, errors } = await again.stop();
  deepEqual({ wrong, errors }, { wrong: 0, errors: [] });
}

fuseTest(
  "if all watchers died the next start watches again, and names who may have read zeros",
  async () => {
    await using container = await LazyContainer.start("erofs-fanotify");
    await container.driver.kill();
    Deno.kill(container.keeperPid, "SIGKILL");
    await Deno.readFile(`${container.root}/3`); // zeros, which the kernel caches
    await container.driver.restart();
    deepEqual(await Deno.readFile(`${container.root}/3`), container.content(3));
    await using readers = await container.read(2);
    const { wrong, errors } = await readers.stop();
    deepEqual({ wrong, errors }, { wrong: 0, errors: [] });
    const suspects = /may have read zeros .* layers box,/;
    match((await warningsOf(container)).join(), suspects);
    await container.driver.kill();
    await container.driver.restart();
    match((await warningsOf(container)).join(), suspects, "the next server reports it as well");
    await startAnew(container);
    deepEqual(await warningsOf(container), []);
  },
);

fuseTest(
  "after all has died and was unmounted, a removed image leaves nothing in the cache (erofs-fanotify)",
  async () => {
    await using container = await LazyContainer.start("erofs-fanotify");
    const { driver } = container;
    await Deno.readFile(`${container.root}/3`);
    const root = dirname(container.stateDir);
    await driver.kill();
    Deno.kill(container.keeperPid, "SIGKILL");
    unmountBelow(dirname(root));
    await driver.restart();
    container.root = String((await driver.call("GraphDriver.Get", { ID: "box" }))["Dir"]);
    deepEqual(await Deno.readFile(`${container.root}/4`), container.content(4));
    for (const ID of ["box", "image"]) {
      await driver.call("GraphDriver.Put", { ID });
      await driver.call("GraphDriver.Remove", { ID });
    }
    const isOfImage = ({ name }: Deno.DirEntry) => name.startsWith(container.blobId);
    await until("the data is removed", () => !Deno.readDirSync(`${root}/cache`).some(isOfImage), 50);
  },
);

fuseTest("after all has died, an image that is unmounted but in use is served on (erofs-fanotify)", async () => {
  await using container = await LazyContainer.start("erofs-fanotify");
  using file = await Deno.open(`${container.root}/3`);
  await container.driver.kill();
  Deno.kill(container.keeperPid, "SIGKILL");
  const mounts = mountsBelow(dirname(dirname(container.stateDir))).reverse();
  for (const { mountPoint } of mounts) umount2(mountPoint, MNT.DETACH);
  await container.driver.restart();
  deepEqual(await new Response(file.readable).bytes(), container.content(3));
});

fuseTest("nobody is said to have read zeros from an image that was complete when all who watched died", async () => {
  using temp = TempDir.make();
  const logPath = temp.join("serve.log");
  await using container = await LazyContainer.start("erofs-fanotify", { logPath, logLevel: "info" });
  for (const { name } of Deno.readDirSync(container.root)) await Deno.readFile(`${container.root}/${name}`);
  await until("the image is complete", () => /image is complete/.test(Deno.readTextFileSync(logPath)));
  await container.driver.kill();
  Deno.kill(container.keeperPid, "SIGKILL");
  await container.driver.restart();
  deepEqual(await Deno.readFile(`${container.root}/3`), container.content(3));
  deepEqual(await warningsOf(container), []);
  doesNotMatch(Deno.readTextFileSync(logPath), /may have read zeros/);
});

async function startAnew({ driver }: LazyContainer): Promise<void> {
  await driver.call("GraphDriver.Put", { ID: "box" });
  await driver.call("GraphDriver.Get", { ID: "box" });
}

/** Doctor's results about the daemon, by status. */
async function healthOf({ adminSocket, stateDir }: LazyContainer): Promise<string> {
  const nowhere = { path: "/nonexistent", explicit: false };
  const installation = await Installation.take({
    root: dirname(stateDir),
    config: nowhere,
    settings: nowhere,
    socket: nowhere.path,
    adminSocket,
    dockerHost: `unix://${nowhere.path}`,
  });
  const health = daemonChecks(installation).find(({ name }) => name === "health");
  return (await health?.run(new AbortController().signal))?.seen ?? "";
}

async function warningsOf({ driver }: LazyContainer): Promise<string[]> {
  const { Status } = await driver.call("GraphDriver.Status");
  return (Status as [string, string][]).filter(([key]) => key === "Warning").map(([, text]) => text);
}

/**
 * The snapshotter as containerd uses it: over its socket, with real images.
 *
 * @module
 */
import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { status } from "@grpc/grpc-js";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { unmountAll } from "../../lib/layer/overlay/overlay_mount.ts";
import { fails, run } from "../support/process/command.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { untilIdle } from "../support/process/idle_process.ts";
import { LazySnapshots } from "../support/serve/lazy_snapshots.ts";
import {
  fixtureOf,
  type ListedEntry,
  RAFS_FIXTURES,
  readFixtureBootstrap,
  storedListing,
} from "../support/rafs/rafs_fixtures.ts";
import { rootTest } from "../support/root_test.ts";
import { SnapshotClient } from "../support/serve/snapshot_client.ts";
import { TempDir } from "../support/temp_dir.ts";
import { walkInChild } from "../support/mount/tree_walk.ts";
import { until } from "../support/until.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";

const FIXTURE = fixtureOf("v6-prefetch-fs");
const LOCAL = { type: "localfs", config: { dir: `${RAFS_FIXTURES}/blobs` } };

/** Everything but inode counts of folders and the root's times, which an overlay has of its own. */
const comparable = (entries: readonly ListedEntry[]) =>
  entries.map(({ nlink, mtime, mtime_nsec, ...entry }) => ({
    ...entry,
    ...(entry.type === "dir" ? {} : { nlink }),
    ...(entry.path === "/" ? {} : { mtime, mtime_nsec }),
  }));

const walk = (root: string) => walkInChild(root, AbortSignal.timeout(120_000));

rootTest("an image whose blobs stay in their registry is unpacked, shown whole, and freed", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  const { client } = snapshots;
  const image = await snapshots.unpack(FIXTURE);
  equal((await client.list()).length, 1 + openBootstrap(await readFixtureBootstrap(FIXTURE)).blobs.length);

  const root = snapshots.mount(await client.prepare("box", image), "box");
  deepEqual(comparable(await walk(root)), comparable(storedListing(FIXTURE)));
  await Deno.writeTextFile(`${root}/written`, "1");

  const view = snapshots.mount(await client.view("look", image), "look");
  deepEqual(comparable(await walk(view)), comparable(storedListing(FIXTURE)));
  await rejects(Deno.writeTextFile(`${view}/written`, "1"), /read-only|os error 30/i);
  const report = await statusOf(snapshots);
  deepEqual(report.images.map(({ layer }) => layer), [layerOf(snapshots, image)]);
  deepEqual(report.images[0]?.used_by.map(({ name }) => name), ["box", "look"]);

  unmountAll(root);
  unmountAll(view);
  await client.remove("box");
  await client.remove("look");
  for (let names = await client.list(); names.length > 0; names = await client.list()) {
    await removeTop(snapshots, names);
  }
  deepEqual((await statusOf(snapshots)).images, []);
  deepEqual([...Deno.readDirSync(snapshots.temp.join("root/snapshotter/snapshots"))], []);
  deepEqual(namesOf(snapshots.temp.join("root/cache")).filter((name) => name.includes(".data")), []);
});

rootTest("a container goes on when the snapshotter is killed, and its mounts stay the same", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  const image = await snapshots.unpack(FIXTURE);
  const mounts = await snapshots.client.prepare("box", image);
  const root = snapshots.mount(mounts, "box");
  await Deno.writeTextFile(`${root}/written`, "1");
  const names = await snapshots.client.list();

  await snapshots.restart();
  deepEqual(await snapshots.client.list(), names);
  deepEqual(await snapshots.client.mounts("box"), mounts);
  const shown = (await walk(root)).filter(({ path }) => path !== "/written");
  deepEqual(comparable(shown), comparable(storedListing(FIXTURE)));
  const report = await statusOf(snapshots);
  deepEqual([report.images[0]?.used_by.length, report.problems], [1, []]);
  unmountAll(root);
  await snapshots.client.remove("box");
  deepEqual((await statusOf(snapshots)).images[0]?.used_by, []);
});

rootTest("a container whose image ended with its keeper is reported until it is mounted anew", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL, { args: ["--fs-driver", "fuse"], logPath: "/dev/null" });
  const image = await snapshots.unpack(FIXTURE);
  const root = snapshots.mount(await snapshots.client.prepare("box", image), "box");
  const { pid } = JSON.parse(await Deno.readTextFile(snapshots.temp.join("root/state/keeper.json")));
  await snapshots.driver.kill();
  Deno.kill(pid, "SIGKILL");
  await snapshots.restart();
  match(JSON.stringify((await statusOf(snapshots)).problems), /1 mounted layer lost its image/);
  unmountAll(root);
  const again = snapshots.mount(await snapshots.client.mounts("box"), "box");
  deepEqual(comparable(await walk(again)), comparable(storedListing(FIXTURE)));
  deepEqual((await statusOf(snapshots)).problems, []);
});

rootTest("blobs are found where the image was pulled from, if that may be asked", async () => {
  await using registry = await FakeRegistry.start();
  const bootstrap = await readFixtureBootstrap(FIXTURE);
  for (const { id } of openBootstrap(bootstrap).blobs) {
    registry.addBlob(await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`));
  }
  const reference = `${registry.host}/app:1`;
  {
    await using snapshots = await LazySnapshots.start(undefined, {
      reference,
      env: { NYDUS_GD_FETCH_TRUSTED_ORIGINS: registry.host },
    });
    const image = await snapshots.unpack(FIXTURE);
    const root = snapshots.mount(await snapshots.client.prepare("box", image), "box");
    deepEqual(comparable(await walk(root)), comparable(storedListing(FIXTURE)));
    const [shown] = (await statusOf(snapshots)).images;
    deepEqual([shown?.names, shown?.home], [[reference], `registry ${registry.host}/app`]);
  }
  const asked = registry.requests.length;
  await using snapshots = await LazySnapshots.start(undefined, { reference });
  const image = await snapshots.unpack(FIXTURE);
  await rejects(snapshots.client.prepare("box", image), {
    code: status.UNAVAILABLE,
    details: /loopback.*\(hint: .*fetch\.trusted_origins/,
  });
  equal(registry.requests.length, asked, "a name that only the image brings gets no request on this machine");
  deepEqual(await snapshots.client.list("kind==active"), []);
});

rootTest("a call whose deadline passes leaves nothing behind", async () => {
  await using registry = await FakeRegistry.start();
  registry.lasting = { kind: "stall" };
  await using snapshots = await LazySnapshots.start(undefined, {
    reference: `${registry.host}/app:1`,
    env: { NYDUS_GD_FETCH_TRUSTED_ORIGINS: registry.host },
  });
  const bootstrap = await readFixtureBootstrap(FIXTURE);
  for (const { id } of openBootstrap(bootstrap).blobs) registry.stalled.add(id);
  const image = await snapshots.unpack(FIXTURE);
  await rejects(snapshots.client.prepare("box", image, {}, 500), { code: status.DEADLINE_EXCEEDED });
  await until("the call has ended", async () => (await statusOf(snapshots)).images.length === 0);
  deepEqual(await snapshots.client.list("kind==active"), []);
  await snapshots.client.remove(image);
});

rootTest("what cannot be asked of a snapshot is refused with the codes of containerd's own snapshotters", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL, { logPath: "/dev/null" });
  const { client } = snapshots;
  await client.prepare("writable");
  await client.prepare("finished");
  await client.commit("layer", "finished");
  await client.view("look", "layer");
  const refused = (call: Promise<unknown>) => call.then(() => "accepted", ({ code }) => status[code]);
  const codes = {
    "view committed": await refused(client.commit("other", "look")),
    "layer committed": await refused(client.commit("other", "layer")),
    "layer mounted": await refused(client.mounts("layer")),
    "parent removed": await refused(client.remove("layer")),
    "writable parent": await refused(client.prepare("new", "writable")),
    "no name": await refused(client.prepare("")),
    "name taken": await refused(client.prepare("look")),
    "no parent": await refused(client.view("new", "nothing")),
    "invalid filter": await refused(client.list("name==")),
  };
  deepEqual(codes, {
    "view committed": "FAILED_PRECONDITION",
    "layer committed": "FAILED_PRECONDITION",
    "layer mounted": "FAILED_PRECONDITION",
    "parent removed": "FAILED_PRECONDITION",
    "writable parent": "INVALID_ARGUMENT",
    "no name": "INVALID_ARGUMENT",
    "name taken": "ALREADY_EXISTS",
    "no parent": "NOT_FOUND",
    "invalid filter": "INVALID_ARGUMENT",
  });
});

rootTest("snapshots are shown to no client that knows the snapshotter under another name", async () => {
  await using snapshots = await LazySnapshots.start(undefined);
  using other = new SnapshotClient(snapshots.socket, "nydus");
  deepEqual(await other.list(), [], "there is nothing to lose");
  await snapshots.client.prepare("box");
  const requireRefused = async (client: SnapshotClient) => {
    for (const call of [() => client.list(), () => client.remove("box"), () => client.prepare("mine")]) {
      await rejects(call(), (error: { code: number; details: string }) => {
        equal(error.code, status.FAILED_PRECONDITION);
        match(error.details, /the snapshotter nydus-gd, .*hint: keep one table/);
        return true;
      });
    }
  };
  await requireRefused(other);
  await snapshots.restart();
  using after = new SnapshotClient(snapshots.socket, "nydus");
  await requireRefused(after);
  await snapshots.client.remove("box");
  await snapshots.restart();
  using renamed = new SnapshotClient(snapshots.socket, "nydus");
  await renamed.prepare("box");
  deepEqual(await renamed.list(), ["box"]);
});

rootTest("labels of any size do not make the listing too large for its receiver", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  const { client } = snapshots;
  const keys = Array.from({ length: 8 }, (_, index) => `box ${index}`);
  // a client of this library takes messages of 4 MiB
  for (const key of keys) await client.prepare(key, "", { "containerd.io/snapshot/long": "x".repeat(1024 * 1024) });
  deepEqual(await client.list(), keys);
});

rootTest("garbage collection knows the images of snapshots, whether the daemon runs or not", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  const { client, temp } = snapshots;
  const image = await snapshots.unpack(FIXTURE);
  const root = snapshots.mount(await client.prepare("box", image), "box");
  await walk(root);
  unmountAll(root);
  await client.remove("box");
  const cached = () => namesOf(temp.join("root/cache")).filter((name) => name.endsWith(".blob.data"));
  const collected = async () => {
    const { stdout, stderr } = await run([
      ...["--log-level", "error", "gc", "-o", "json", "--root", temp.join("root")],
      ...["--admin-socket", temp.join("root.admin.sock"), "--config", temp.join("config.json")],
    ]);
    equal(stderr, "");
    return JSON.parse(stdout).blobs.length;
  };
  const before = cached();
  deepEqual([before.length > 0, await collected(), cached()], [true, 0, before]);
  await snapshots.stop();
  deepEqual([await collected(), cached()], [0, before]);
  await Deno.remove(temp.join(`root/snapshotter/snapshots/${layerOf(snapshots, image).replace(/\D/g, "")}`), {
    recursive: true,
  });
  deepEqual([await collected(), cached()], [before.length, []]);
});

rootTest("a damaged bootstrap is refused when its layer is committed", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  const bootstrap = await readFixtureBootstrap(FIXTURE);
  await rejects(snapshots.unpackLayer(bootstrap.subarray(0, 3000), ""), { code: status.INVALID_ARGUMENT });
  const [key = ""] = await snapshots.client.list();
  match(key, /^extract-/);
  await snapshots.client.remove(key);
  deepEqual(await snapshots.client.list(), []);
});

rootTest("the socket is private, and is not taken from another server", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  equal((Deno.statSync(snapshots.socket).mode ?? 0) & 0o777, 0o600);
  const args = [
    "--log-level",
    "error",
    "serve",
    "--root",
    snapshots.temp.join("other"),
    "--socket",
    snapshots.temp.join("other.sock"),
  ];
  const sockets = ["--admin-socket", snapshots.temp.join("a.sock"), "--snapshotter-socket", snapshots.socket];
  await fails([...args, ...sockets], /another process serves it/, /choose another --snapshotter-socket/);
  deepEqual(await snapshots.client.list(), []);
  await snapshots.stop();
  await rejects(Deno.stat(snapshots.socket), Deno.errors.NotFound);
  deepEqual(mountsBelow(snapshots.temp.path), []);
});

/** Number of confirmed calls after which the snapshotter is killed. */
const KILL_AFTER = [0, 2, 5, 9, 13] as const;

rootTest("after a kill at work, everything that was confirmed is there, and nothing partial", async () => {
  await using snapshots = await LazySnapshots.start(LOCAL);
  const dir = snapshots.temp.join("root/snapshotter");
  for (const killAfter of KILL_AFTER) {
    const confirmed = new Set<string>();
    const enough = Promise.withResolvers<void>();
    if (killAfter === 0) enough.resolve();
    const note = (what: string) => {
      if (confirmed.add(what).size === killAfter) enough.resolve();
    };
    const life = async ({ client }: LazySnapshots, id: string) => {
      try {
        const [mount] = await client.prepare(`extract ${id}`);
        note(`extract ${id}`);
        await Deno.writeTextFile(`${mount?.source}/f`, id);
        await client.commit(id, `extract ${id}`);
        note(`layer ${id}`);
        await client.prepare(`box ${id}`, id);
        note(`box ${id}`);
        await client.remove(`box ${id}`);
        note(`gone ${id}`);
      } catch (error) {
        equal((error as { code?: number }).code, status.UNAVAILABLE); // a broken connection is expected
      }
    };
    const lives = ["a", "b", "c", "d"].map((id) => life(snapshots, id));
    await enough.promise;
    await snapshots.restart();
    await Promise.all(lives);

    const { client } = snapshots;
    const names = await client.list();
    const has = (name: string) => names.includes(name);
    for (const id of ["a", "b", "c", "d"]) {
      const known = (what: string) => confirmed.has(`${what} ${id}`);
      if (known("extract")) equal(has(`extract ${id}`) !== has(id), true, `${id} is there, once`);
      if (known("layer")) equal(has(id), true, id);
      if (known("gone")) equal(has(`box ${id}`), false, id);
      if (!has(id)) continue;
      const [view] = await client.view(`look ${id}`, id);
      equal(await Deno.readTextFile(`${view?.source}/f`), id);
    }
    const numbers = namesOf(`${dir}/snapshots`);
    deepEqual([numbers.length, namesOf(`${dir}/making`), namesOf(`${dir}/removing`)], [
      (await client.list()).length,
      [],
      [],
    ]);
    for (let left = await client.list(); left.length > 0; left = await client.list()) await removeTop(snapshots, left);
    deepEqual(namesOf(`${dir}/snapshots`), []);
  }
});

rootTest("connections leave nothing behind, and a time without descriptors is survived", async () => {
  using dir = TempDir.make();
  const logPath = dir.join("log");
  await using snapshots = await LazySnapshots.start(LOCAL, { within: ["prlimit", "--nofile=100"], logPath });
  const { client, socket, driver } = snapshots;
  const openFiles = () => namesOf(`/proc/${driver.pid}/fd`).length;
  deepEqual(await client.list(), []);
  await untilIdle(driver.pid); // threads that are being started have not opened what they need
  const before = openFiles();
  for (let round = 0; round < 20; round++) {
    using another = new SnapshotClient(socket);
    deepEqual(await another.list(), []);
  }
  await until("all connections are closed", () => openFiles() <= before);

  const idle = await Promise.all(Array.from({ length: 120 }, () => Deno.connect({ transport: "unix", path: socket })));
  await until("it is out of descriptors", () => Deno.readTextFileSync(logPath).includes("cannot accept connections"));
  for (const connection of idle) connection.close();
  {
    using another = new SnapshotClient(socket);
    equal((await another.prepare("box")).length, 1);
  }
  await until("all connections are closed", () => openFiles() <= before);
});

function namesOf(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name);
}

/** The image's id in the status: by its snapshot's folder. */
function layerOf({ temp }: LazySnapshots, name: string): string {
  const dir = temp.join("root/snapshotter/snapshots");
  const number = namesOf(dir).find((number) =>
    JSON.parse(Deno.readTextFileSync(`${dir}/${number}/record.json`)).name === name
  );
  return `snapshot-${number}`;
}

/** Removes the snapshots that nothing is stacked on. */
async function removeTop({ client }: LazySnapshots, names: readonly string[]): Promise<void> {
  const parents = new Set(await Promise.all(names.map(async (name) => (await client.stat(name))?.parent)));
  for (const name of names) if (!parents.has(name)) await client.remove(name);
}

interface Status {
  readonly images: {
    readonly layer: string;
    readonly names: string[];
    readonly home: string;
    readonly used_by: { readonly name: string | null }[];
  }[];
  readonly problems: unknown[];
}

async function statusOf({ temp }: LazySnapshots): Promise<Status> {
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path: temp.join("root.admin.sock") } });
  return await (await fetch("http://admin/v1/status", { client })).json();
}

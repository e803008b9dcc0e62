/**
 * `nydus-gd mount --config` with each kind of backend: the whole tree, read through the kernel, equals the listing.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { bootstrapLayerTar } from "../../lib/image/build/image_builder.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { effectiveBlobId } from "../../lib/rafs/format/flags.ts";
import { ON_DEMAND, OpenedBackend, refuses } from "../support/backend/backend_world.ts";
import { run, Server } from "../support/process/command.ts";
import { ACCESS_KEY, FakeBucket, type Protocol } from "../support/backend/fake_bucket.ts";
import { FileServer } from "../support/backend/file_server.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";
import { LoopDevice, makePartitionedDisk } from "../support/backend/partitioned_disk.ts";
import {
  fixtureOf,
  listRafsFixtures,
  type RafsFixture,
  readFixtureBootstrap,
  readListing,
  storedListing,
} from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";
import { walkInChild } from "../support/mount/tree_walk.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { until } from "../support/until.ts";

const IMAGES = ["v5-layers-merged", "v6-layers-merged"].map((name) => {
  const found = listRafsFixtures().find((fixture) => fixture.name === name);
  assert.ok(found, name);
  return found;
});

const PREFIX = "nydus/blobs/";

/** The backend section of a configuration. */
interface Section {
  readonly type: string;
  readonly keys: Record<string, unknown>;
}

type Blobs = ReadonlyMap<string, Uint8Array>;

async function blobsOf(fixture: RafsFixture): Promise<Blobs> {
  const { blobs } = openBootstrap(await readFixtureBootstrap(fixture));
  const ids = blobs.map((blob) => effectiveBlobId(blob, fixture.container));
  return new Map(
    await Promise.all(
      ids.map(async (id) => [id, await Deno.readFile(join(fixture.directory, "blobs", id))] as const),
    ),
  );
}

/** v1 JSON as used with graph drivers, and v2 TOML. */
function v1({ type, keys }: Section, workDir: string): string {
  const cache = { type: "blobcache", config: { work_dir: workDir } };
  return JSON.stringify({ device: { backend: { type, config: keys }, cache }, mode: "direct" });
}

function v2({ type, keys }: Section, workDir: string): string {
  const cache = { type: "filecache", filecache: { work_dir: workDir } };
  return stringify({ version: 2, backend: { type, [type]: keys }, cache });
}

/** Mounts the image with the configuration `text`, and compares it. */
async function mounts(fixture: RafsFixture, text: (workDir: string) => string): Promise<void> {
  using temp = TempDir.make();
  const [config, dir, boot] = [temp.join("config"), temp.join("mnt"), temp.join("image.boot")];
  await Deno.writeTextFile(config, text(temp.join("cache")));
  await Deno.writeFile(boot, await readFixtureBootstrap(fixture));
  await Deno.mkdir(dir);
  await using _server = await Server.start(["mount", "--config", config, boot, dir], /^mounted /);
  assert.deepEqual(await walkInChild(dir, AbortSignal.timeout(60_000)), storedListing(fixture), fixture.name);
}

for (const fixture of IMAGES) {
  for (const protocol of ["s3", "oss"] as const satisfies Protocol[]) {
    for (const [form, write] of [["v1 JSON", v1], ["v2 TOML", v2]] as const) {
      fuseTest(`${fixture.name} is read from a bucket of ${protocol}, configured by ${form}`, async () => {
        await using bucket = await FakeBucket.start(protocol);
        for (const [id, data] of await blobsOf(fixture)) bucket.objects.set(PREFIX + id, data);
        const section = { type: protocol, keys: bucket.section({ object_prefix: PREFIX }) };
        await mounts(fixture, (workDir) => write(section, workDir));
        assert.ok(bucket.requests.some(({ method }) => method === "GET"));
      });
    }
  }

  fuseTest(`${fixture.name} is read from a plain HTTP server`, async () => {
    await using server = await FileServer.start();
    for (const [id, data] of await blobsOf(fixture)) server.files.set(`/blobs/${id}`, data);
    const section = { type: "http-proxy", keys: { addr: `http://${server.host}`, path: "/blobs" } };
    await mounts(fixture, (workDir) => v2(section, workDir));
  });

  for (const [form, write] of [["v1 JSON", v1], ["v2 TOML", v2]] as const) {
    fuseTest(`${fixture.name} is read from partitions made by sfdisk, configured by ${form}`, async () => {
      using temp = TempDir.make();
      const path = temp.join("disk.img");
      await makePartitionedDisk(path, await blobsOf(fixture), form === "v1 JSON");
      await mounts(fixture, (workDir) => write({ type: "localdisk", keys: { device_path: path } }, workDir));
    });
  }
}

/** A backend that does not answer is given up soon. */
const FAILS_SOON = { NYDUS_GD_FETCH_DEADLINE: "3s", NYDUS_GD_FETCH_RETRIES: "0" };

/** Repeats what may fail until the backend is reached again: a busy machine may exceed that time. */
async function recovered<T>(use: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  let failure: unknown;
  await until(() => `the backend is reached again: ${failure}`, async () => {
    result = await use().then((value) => ({ value }), (error) => void (failure = error));
    return result !== undefined;
  });
  return (result ?? assert.fail()).value;
}

fuseTest("a block device is read like its image file", async () => {
  using temp = TempDir.make();
  const path = temp.join("disk.img");
  const blobs = await blobsOf(IMAGES[0] as RafsFixture);
  await makePartitionedDisk(path, blobs);
  await using device = await LoopDevice.attach(path);
  if (device === undefined) {
    console.log("skipped: no loop device is available");
    return;
  }
  using opened = OpenedBackend.open("localdisk", { device_path: device.path });
  for (const [id, data] of blobs) {
    const blob = opened.backend.blob(id);
    const size = Math.ceil(data.length / 512) * 512;
    assert.equal(await blob.size(), size);
    assert.deepEqual(await blob.read(0, data.length, ON_DEMAND), data);
    await refuses(blob.read(size - 1, 2, ON_DEMAND), "io", /ends at/);
  }
});

fuseTest("a mount refused by a bucket reports why, and shows no secret at any log level", async () => {
  const [fixture] = IMAGES;
  assert.ok(fixture);
  using temp = TempDir.make();
  const [config, dir, boot] = [temp.join("config"), temp.join("mnt"), temp.join("image.boot")];
  await Deno.writeFile(boot, await readFixtureBootstrap(fixture));
  await Deno.mkdir(dir);
  for (const protocol of ["s3", "oss"] as const satisfies Protocol[]) {
    await using bucket = await FakeBucket.start(protocol, { isForbidden: true });
    await Deno.writeTextFile(config, v1({ type: protocol, keys: bucket.section() }, temp.join("cache")));
    const { code, stdout, stderr } = await run(["--log-level", "debug", "mount", "--config", config, boot, dir]);
    assert.equal(code, 1, stdout);
    assert.match(stderr, /^nydus-gd: cannot mount .*HTTP 403 AccessDenied from .* may not read from bucket images\)$/m);
    assert.match(stderr, /^hint: allow it to get objects/m);
    assert.ok(![stdout, stderr].join("").includes(ACCESS_KEY.secret), stderr);
  }
});

fuseTest(
  "a server starts without its bucket, reports it at the first use, and recovers with it",
  async () => {
    const image = fixtureOf("v6-prefetch-fs");
    const bootstrap = await readFixtureBootstrap(image);
    const file = readListing(image.listing).find(({ type, size }) => type === "reg" && (size ?? 0) > 0);
    assert.ok(file);
    using temp = TempDir.make();
    await using bucket = await FakeBucket.start("s3");
    for (const [id, data] of await blobsOf(image)) bucket.objects.set(id, data);
    await bucket.goDown();
    const config = temp.join("config.json");
    await Deno.writeTextFile(config, v1({ type: "s3", keys: bucket.section() }, temp.join("cache")));
    const logPath = temp.join("log");
    const client = Deno.createHttpClient({ proxy: { transport: "unix", path: temp.join("root.admin.sock") } });
    const admin = async (path: string) => await (await fetch(`http://admin${path}`, { client })).text();
    try {
      await using driver = await GraphDriverProcess.start(temp.path, {
        env: FAILS_SOON,
        logLevel: "trace",
        logPath,
        args: ["--config", config],
      });
      await driver.call("GraphDriver.Init", { Home: temp.join("home"), Opts: [] });
      await driver.call("GraphDriver.Create", { ID: "image" });
      await driver.apply("image", bootstrapLayerTar(bootstrap));
      await driver.call("GraphDriver.CreateReadWrite", { ID: "box", Parent: "image" });
      await assert.rejects(
        driver.call("GraphDriver.Get", { ID: "box" }),
        new RegExp(`s3 of the configuration: .*connection to 127\\.0\\.0\\.1:${bucket.port} refused`),
      );
      await bucket.comeBack();
      const { Dir } = await recovered(() => driver.call("GraphDriver.Get", { ID: "box" }));
      const read = () => Deno.readFile(`${Dir}${decodeURIComponent(file.path)}`);
      await bucket.goDown();
      await assert.rejects(read(), /os error 5/);
      const status = await admin("/v1/status");
      assert.match(status, /"degraded","message":"the last fetch failed for 1 of 1 lazy images"/);
      await bucket.comeBack();
      assert.equal(createHash("sha256").update(await recovered(read)).digest("hex"), file.sha256);
      const output = [status, await admin("/healthz"), await admin("/metrics"), await Deno.readTextFile(logPath)]
        .join();
      assert.ok(!output.includes(ACCESS_KEY.secret), "a secret was shown");
    } finally {
      client.close();
      unmountBelow(temp.path);
    }
  },
);

fuseTest("a mount with a cache starts while its bucket is down, and reads once it is up", async () => {
  const [, image] = IMAGES;
  assert.ok(image);
  using temp = TempDir.make();
  const [config, dir, boot] = [temp.join("config"), temp.join("mnt"), temp.join("image.boot")];
  await using bucket = await FakeBucket.start("oss");
  for (const [id, data] of await blobsOf(image)) bucket.objects.set(id, data);
  await bucket.goDown();
  await Deno.writeTextFile(config, v2({ type: "oss", keys: bucket.section() }, temp.join("cache")));
  await Deno.writeFile(boot, await readFixtureBootstrap(image));
  await Deno.mkdir(dir);
  await using _server = await Server.start(["mount", "--config", config, boot, dir], /^mounted /, { env: FAILS_SOON });
  const { path } = storedListing(image).find(({ type, size = 0 }) => type === "reg" && size > 0) ?? {};
  await assert.rejects(Deno.readFile(dir + path), /os error 5/);
  await bucket.comeBack();
  await recovered(() => Deno.readFile(dir + path));
  assert.deepEqual(await walkInChild(dir, AbortSignal.timeout(60_000)), storedListing(image));
});

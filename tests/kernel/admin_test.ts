/**
 * The admin socket of a running `serve`, and `nydus-gd status` as a client process.
 *
 * @module
 */
import assert from "node:assert/strict";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { bootstrapLayerTar, digestOf } from "../../lib/image/build/image_builder.ts";
import type { StatusDocument } from "../../lib/image/lazy/report/status_document.ts";
import type { FsDriver } from "../../lib/mount/data_path.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";
import { fixtureOf, RAFS_FIXTURES, readFixtureBootstrap, readListing } from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { untilEqual } from "../support/until.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const image = fixtureOf("v6-prefetch-fs");

/** A `serve` with its admin socket. */
class Serving implements AsyncDisposable {
  readonly #client: Deno.HttpClient;

  private constructor(readonly driver: GraphDriverProcess, readonly adminSocket: string) {
    this.#client = Deno.createHttpClient({ proxy: { transport: "unix", path: adminSocket } });
  }

  static async start(scratch: string, env: Readonly<Record<string, string>> = {}): Promise<Serving> {
    return new Serving(await GraphDriverProcess.start(scratch, { env }), `${scratch}/root.admin.sock`);
  }

  ask(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://admin${path}`, { ...init, client: this.#client });
  }

  /** Output of `nydus-gd status`. */
  async status(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", MAIN, "status", "--admin-socket", this.adminSocket, ...args],
      stdout: "piped",
      stderr: "piped",
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  }

  async document(): Promise<StatusDocument> {
    return JSON.parse(await this.status("-o", "json"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.driver[Symbol.asyncDispose]();
  }
}

/** Acts as Docker: mounts a container layer on the fixture's bootstrap layer. Returns its root. */
async function mountLazy({ driver }: Serving, scratch: string, fsDriver: FsDriver): Promise<string> {
  const backend = { type: "localfs", config: { dir: `${RAFS_FIXTURES}/blobs` } };
  await Deno.writeTextFile(`${scratch}/config.json`, JSON.stringify({ device: { backend }, mode: "direct" }));
  const opts = [`nydus-gd.config=${scratch}/config.json`, `nydus-gd.fs-driver=${fsDriver}`];
  await driver.call("GraphDriver.Init", { Home: `${scratch}/home`, Opts: opts });
  await driver.call("GraphDriver.Create", { ID: "image" });
  await driver.apply("image", bootstrapLayerTar(await readFixtureBootstrap(image)));
  await driver.call("GraphDriver.CreateReadWrite", { ID: "box", Parent: "image" });
  const { Dir } = await driver.call("GraphDriver.Get", { ID: "box" });
  return String(Dir);
}

/** Waits until the only image is complete; returns the status then. */
async function prefetched(serving: Serving): Promise<StatusDocument> {
  let now = await serving.document();
  await untilEqual(async () => {
    now = await serving.document();
    return now.images[0]?.prefetch?.state;
  }, "complete");
  return now;
}

function serveTest(
  name: string,
  fsDriver: FsDriver,
  test: (serving: Serving, scratch: string, fsDriver: FsDriver) => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): void {
  fuseTest(`${name} (${fsDriver})`, async () => {
    using temp = TempDir.make();
    try {
      await using serving = await Serving.start(temp.path, env);
      await test(serving, temp.path, fsDriver);
    } finally {
      unmountBelow(temp.path);
    }
  });
}

serveTest(
  "the record of a pull is kept as long as a layer of the same content needs it",
  "fuse",
  async (serving, scratch, fsDriver) => {
    const { driver } = serving;
    await mountLazy(serving, scratch, fsDriver);
    const tar = bootstrapLayerTar(await readFixtureBootstrap(image));
    const diffId = digestOf(tar);
    await driver.call("GraphDriver.Create", { ID: "other" });
    await driver.apply("other", tar);
    const record = {
      version: 1,
      reference: "registry.example/app:1",
      registry: "registry.example",
      repository: "app",
      pulledAt: new Date().toISOString(),
      logins: [],
    };
    const { status } = await serving.ask(`/v1/pulled/${diffId}`, { method: "PUT", body: JSON.stringify(record) });
    assert.equal(status, 204);
    const records = () => Array.from(Deno.readDirSync(`${scratch}/root/state/pulled`), ({ name }) => name);
    await driver.call("GraphDriver.Remove", { ID: "other" }); // dockerd had two, as of concurrent pulls
    assert.deepEqual(records(), [`${diffId.slice("sha256:".length)}.json`]);
    await driver.call("GraphDriver.Put", { ID: "box" });
    for (const ID of ["box", "image"]) await driver.call("GraphDriver.Remove", { ID });
    assert.deepEqual(records(), []);
  },
);

for (const driver of TESTED_DATA_PATHS) {
  serveTest(
    "status reports what was read of an image, and a prefetch fetches the rest",
    driver,
    async (serving, scratch, fsDriver) => {
      assert.equal((Deno.lstatSync(serving.adminSocket).mode ?? 0) & 0o777, 0o600);
      const idle = await serving.document();
      assert.deepEqual([idle.layers, idle.images, idle.fuse], [null, [], null]);

      const root = await mountLazy(serving, scratch, fsDriver);
      const files = readListing(image.listing).filter(({ type }) => type === "reg");
      const text = await Deno.readFile(`${root}/lib/mod03.txt`);
      assert.equal(text.length, files.find(({ path }) => path === "/lib/mod03.txt")?.size);

      const touched = await serving.document();
      assert.deepEqual(touched.layers, { home: `${scratch}/home`, mounted: 1 });
      const [shown, ...others] = touched.images;
      assert.ok(shown !== undefined && others.length === 0);
      assert.deepEqual([shown.layer, shown.fs_driver, shown.prefetch, shown.errors], ["image", fsDriver, null, []]);
      assert.match(shown.home, /^localfs /);
      const [blob] = shown.blobs;
      assert.ok(blob !== undefined);
      assert.ok(blob.chunks_ready >= 1 && blob.chunks_ready < blob.chunks, `${blob.chunks_ready} of ${blob.chunks}`);
      assert.ok(touched.fetched.bytes >= 1 && touched.fetched.bytes === blob.fetched_bytes);
      assert.ok(touched.fuse !== null && touched.fuse.misses >= 1);
      assert.match(await serving.status(), new RegExp(`\n-\\s+image\\s.*\\s${fsDriver}\\s+localfs `));

      assert.equal((await serving.ask("/healthz")).status, 200);
      const metrics = await (await serving.ask("/metrics")).text();
      assert.match(metrics, new RegExp(`^nydus_gd_fetched_bytes_total ${touched.fetched.bytes}$`, "m"));
      assert.match(metrics, new RegExp(`^nydus_gd_mounted_images\\{fs_driver="${fsDriver}"\\} 1$`, "m"));
      assert.match(metrics, /^nydus_gd_mounted_layers 1$/m);

      const { Status } = await serving.driver.call("GraphDriver.Status");
      const rows = new Map(Status as [string, string][]);
      assert.equal(rows.get("Version"), touched.version);
      assert.equal(rows.get("Kernel"), Deno.osRelease());
      assert.equal(rows.get("Cache Folder"), `${scratch}/root/cache`);
      assert.equal(rows.get("Data Path"), `${fsDriver} (selected by name)`);
      assert.match(rows.get("Cache Fill") ?? "", / used, .* free of /);
      assert.equal(rows.get("Lazy Images Mounted"), "1");

      const started = await serving.ask("/v1/mounts/image/prefetch", { method: "POST" });
      assert.equal(started.status, 202);
      assert.equal((await started.json()).layer, "image");
      const before = (await prefetched(serving)).fetched.bytes;
      for (const { path } of files) await Deno.readFile(`${root}${path}`);
      assert.equal((await serving.document()).fetched.bytes, before);
    },
  );
}

serveTest("an image is completed in the background when not read", "fuse", async (serving, scratch, fsDriver) => {
  const root = await mountLazy(serving, scratch, fsDriver);
  const { bytes } = (await prefetched(serving)).fetched;
  for (const { path, type } of readListing(image.listing)) if (type === "reg") await Deno.readFile(`${root}${path}`);
  assert.equal((await serving.document()).fetched.bytes, bytes);
}, { NYDUS_GD_PREFETCH_ENABLED: "true" });

serveTest("a mount that others unmounted is reported as failed", "fuse", async (serving, scratch, fsDriver) => {
  await mountLazy(serving, scratch, fsDriver);
  assert.equal((await serving.ask("/healthz")).status, 200);
  umount2(`${scratch}/root/images`, MNT.DETACH);
  await serving.driver.call("GraphDriver.Put", { ID: "box" }); // the overlay keeps the file system alive until then
  await untilEqual(async () => (await serving.ask("/healthz")).status, 503);
  const { status, reasons } = await (await serving.ask("/healthz")).json();
  assert.equal(status, "failed");
  assert.match(reasons.join(), /the FUSE session of 1 lazy image has ended/);
  assert.match(await serving.status(), /^FAILED: the FUSE session of 1 lazy image has ended/m);
});

serveTest(
  "a server that takes over from a killed one has no problems to report",
  "fuse",
  async (serving, scratch, fsDriver) => {
    await mountLazy(serving, scratch, fsDriver);
    await serving.driver.kill();
    await serving.driver.restart();
    assert.deepEqual((await serving.document()).problems, []);
    await serving.driver.call("GraphDriver.Put", { ID: "box" });
  },
);

serveTest(
  "containers that lost their image with an earlier server and its keeper are reported",
  "fuse",
  async (serving, scratch, fsDriver) => {
    await mountLazy(serving, scratch, fsDriver);
    await serving.driver.kill();
    const { pid } = JSON.parse(await Deno.readTextFile(`${scratch}/root/state/keeper.json`)) as { pid: number };
    Deno.kill(pid, "SIGKILL");
    await serving.driver.restart();
    const { problems } = await serving.document();
    assert.deepEqual(problems.map(({ severity }) => severity), ["degraded"]);
    assert.match(
      problems[0]?.message ?? "",
      /^1 mounted layer lost its image with an earlier nydus-gd: .* stop and start the containers of box$/,
    );
    const rows = (await serving.driver.call("GraphDriver.Status"))["Status"] as [string, string][];
    assert.match(rows.find(([name]) => name === "Warning")?.[1] ?? "", /^1 mounted layer lost its image/);
    await serving.driver.call("GraphDriver.Put", { ID: "box" });
    assert.deepEqual((await serving.document()).problems, []);
  },
);

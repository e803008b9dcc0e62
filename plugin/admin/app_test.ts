import assert from "node:assert/strict";
import type { LogLevelName } from "../../lib/base/setting_choices.ts";
import { DockerContainers } from "../../lib/image/docker/containers.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { ImageNumbers } from "../../lib/image/lazy/records/image_numbers.ts";
import { collectGarbage, type GarbageOptions } from "../../lib/image/gc/collect_garbage.ts";
import { PulledImages } from "../../lib/image/lazy/records/pulled_images.ts";
import { MountRecord } from "../../lib/image/lazy/records/mount_record.ts";
import { KernelImages } from "../../lib/mount/erofs/kernel_images.ts";
import { LazyImageStore } from "../../lib/image/lazy/lazy_image_store.ts";
import { StatusDocument } from "../../lib/image/lazy/report/status_document.ts";
import { parseWith } from "../../lib/base/schema.ts";
import { acquire, ensureRows, QUIET } from "../../tests/support/blob/blob_setup.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { ScriptedSource } from "../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob } from "../../tests/support/blob/synthetic_blob.ts";
import { PASSIVE_STORE } from "../../tests/support/image/lazy_store_options.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { GraphDriver } from "../docker/driver.ts";
import { createAdminApp, createObserverApp } from "./app.ts";

/** Runs `test` with the parts of a daemon, without a FUSE session and before Docker's first call. */
async function withParts(
  test: (parts: Parameters<typeof createAdminApp>[0], cache: BlobCache, levels: LogLevelName[]) => Promise<void>,
): Promise<void> {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  await using cache = BlobCache.open(temp.join("cache"), QUIET);
  await using images = new LazyImageStore({
    ...PASSIVE_STORE,
    stateDir: temp.path,
    cache,
    numbers: await ImageNumbers.open(temp.join("numbers.json")),
    record: await MountRecord.open(temp.join("mounted.json")),
    kernelImages: new KernelImages(temp.path),
    takeOverMounts: () => Promise.resolve(undefined),
    findMounted: () => Promise.resolve([]),
    startMounts: () => Promise.reject(new Error("no session here")),
    deadlineMs: 1000,
    candidates: () => Promise.resolve([]),
    dataPath: { fsDriver: "fuse", reason: "selected by name", named: true },
    minFree: { bytes: 0 },
  });
  const openStore = () => Promise.reject(new Error("no store here"));
  await using driver = await GraphDriver.resume({ stateFile: temp.join("driver.json"), openStore });
  const levels: LogLevelName[] = ["info"];
  const log = {
    get level() {
      return levels.at(-1) ?? "info";
    },
    setLevel: (level: LogLevelName) => void levels.push(level),
  };
  const pulled = await PulledImages.open(temp.join("pulled"));
  const collect = (options: GarbageOptions) =>
    collectGarbage({ cache, stateDir: temp.path, pulled, layers: undefined, mounted: [], images }, options);
  const containers = new DockerContainers();
  await test({ root: temp.path, images, driver, containers, pulled, collect, log }, cache, levels);
}

/** Returns the value of a metric without labels. */
function metric(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

Deno.test("an idle daemon is healthy, and describes itself", () =>
  withParts(async (parts) => {
    const app = createAdminApp(parts);
    const health = await app.request("/healthz");
    assert.equal(health.status, 200);
    assert.deepEqual(await health.json(), { status: "ok", reasons: [] });
    const document = await (await app.request("/v1/status")).json();
    assert.equal(parseWith(StatusDocument, document).ok, true);
    assert.equal(document.pid, Deno.pid);
    assert.equal(document.root, parts.root);
    assert.equal(document.log_level, "info");
    assert.deepEqual(document.data_path, { fs_driver: "fuse", reason: "selected by name" });
    assert.equal(document.cache.dir, `${parts.root}/cache`);
    assert.ok(document.cache.usage.total_bytes > 0);
    assert.deepEqual([document.fuse, document.layers, document.images, document.problems], [null, null, [], []]);
  }));

Deno.test("snapshots and their problems are in the status", () =>
  withParts(async (parts) => {
    const warnings = ["1 mounted layer lost its image"];
    const app = createAdminApp({ ...parts, snapshots: { warnings, dir: "/s", count: 3, nameOf: () => undefined } });
    const { problems, snapshots } = await (await app.request("/v1/status")).json();
    assert.deepEqual(snapshots, { dir: "/s", count: 3 });
    assert.deepEqual(problems, [{ severity: "degraded", message: "1 mounted layer lost its image" }]);
    assert.equal((await app.request("/healthz")).status, 200);
  }));

Deno.test("fetched bytes are in status and metrics, also after the blob was closed", () =>
  withParts(async (parts, cache) => {
    const app = createAdminApp(parts);
    const synthetic = await makeSyntheticBlob({ sizes: [5000, 6000, 7000] });
    const source = new ScriptedSource(synthetic.bytes);
    const blob = acquire(cache, synthetic, source);
    await ensureRows(blob, synthetic, [0, 1]);
    const open = await (await app.request("/metrics")).text();
    assert.equal(metric(open, "nydus_gd_fetched_bytes_total"), 11_000);
    assert.equal(metric(open, "nydus_gd_ready_chunks"), 2);
    assert.equal(metric(open, "nydus_gd_chunks"), 3);
    await cache.release(blob);
    const response = await app.request("/metrics");
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    assert.equal(metric(text, "nydus_gd_fetched_bytes_total"), 11_000);
    assert.equal(metric(text, "nydus_gd_ready_chunks"), 0);
    assert.ok(metric(text, "nydus_gd_cache_bytes") >= 11_000);
    const { fetched } = await (await app.request("/v1/status")).json();
    assert.deepEqual(fetched, { bytes: 11_000, requests: 1, failed_requests: 0, corrupt_chunks: 0 });
  }));

Deno.test("metrics have consistent names, help, few labels, and those of the process", () =>
  withParts(async (parts) => {
    const app = createAdminApp(parts);
    const text = await (await app.request("/metrics")).text();
    const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    for (const sample of samples) {
      assert.match(sample, /^(nydus_gd_[a-z_]+|process_[a-z_]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+$/);
      const name = /^\w+/.exec(sample)?.[0] ?? "";
      assert.match(text, new RegExp(`^# HELP ${name} .`, "m"));
      assert.equal(text.includes(`# TYPE ${name} counter`), name.endsWith("_total"), name);
    }
    assert.match(text, /^nydus_gd_build_info\{version="\d[^"]*",deno="\d[^"]*",arch="\w+"\} 1$/m);
    assert.match(text, /^nydus_gd_mounted_images\{fs_driver="fuse"\} 0$/m);
    assert.match(text, /^nydus_gd_problems\{severity="failed"\} 0$/m);
    assert.ok(metric(text, "process_resident_memory_bytes") > 1e6);
    assert.ok(metric(text, "process_open_fds") > 0);
    assert.doesNotMatch(text, /nodejs/);
    const again = await (await app.request("/metrics")).text();
    const names = (metrics: string) => metrics.match(/^\w+/gm);
    assert.deepEqual(names(again), names(text));
  }));

Deno.test("a missing cache folder makes the daemon unhealthy, with the reason", () =>
  withParts(async (parts) => {
    const app = createAdminApp(parts);
    await app.request("/metrics");
    await Deno.rename(`${parts.root}/cache`, `${parts.root}/elsewhere`);
    try {
      const health = await app.request("/healthz");
      assert.equal(health.status, 503);
      const { status, reasons } = await health.json();
      assert.equal(status, "failed");
      assert.match(reasons.join(), /^Cannot examine cache ".*\/cache": .*ENOENT$/);
      const document = await (await app.request("/v1/status")).json();
      assert.equal(document.cache.usage, null);
      assert.equal(document.problems[0].severity, "failed");
      const text = await (await app.request("/metrics")).text();
      assert.match(text, /^nydus_gd_problems\{severity="failed"\} 1$/m);
      assert.doesNotMatch(text, /^nydus_gd_cache_bytes \d/m);
    } finally {
      await Deno.rename(`${parts.root}/elsewhere`, `${parts.root}/cache`);
    }
    assert.match(await (await app.request("/metrics")).text(), /^nydus_gd_cache_bytes \d/m);
  }));

Deno.test("the log level is set by name, any other value is refused", () =>
  withParts(async (parts, _cache, levels) => {
    const app = createAdminApp(parts);
    const put = (body: string) => app.request("/v1/log-level", { method: "PUT", body });
    assert.deepEqual(await (await put('{"level": "debug"}')).json(), { level: "debug" });
    assert.deepEqual(levels, ["info", "debug"]);
    const refused: [body: string, message: RegExp][] = [
      ['{"level": "loud"}', /^Cannot set log level: level must be one of "trace", .*, not "loud"$/],
      ["{}", /^Cannot set log level: level is missing$/],
      ["[]", /^Cannot set log level: /],
      ["{", /^Cannot read request: /],
      ["", /^Cannot read request: /],
      [JSON.stringify({ level: "x".repeat(100_000) }), /^Cannot read request: body exceeds 65536 bytes$/],
    ];
    for (const [body, message] of refused) {
      const response = await put(body);
      assert.equal(response.status, 400);
      const { error } = await response.json();
      assert.equal(error.code, "usage");
      assert.match(error.message, message);
    }
    assert.deepEqual(levels, ["info", "debug"]);
  }));

Deno.test("unknown routes and images that are not mounted are 404 in JSON", () =>
  withParts(async (parts) => {
    const app = createAdminApp(parts);
    const calls = [["GET", "/"], ["GET", "/v1/nothing"], ["GET", "/v1/gc"], ["POST", "/healthz"]] as const;
    for (const [method, path] of calls) {
      const response = await app.request(path, { method });
      assert.equal(response.status, 404);
      assert.deepEqual(await response.json(), {
        error: { code: "not-found", message: `Cannot answer ${method} ${path}: no such route` },
      });
    }
    const response = await app.request("/v1/mounts/no%2Fsuch/prefetch", { method: "POST" });
    assert.equal(response.status, 404);
    assert.match((await response.json()).error.message, /^Cannot prefetch image of layer "no\/such": not mounted$/);
  }));

Deno.test("gc with all empties the kernel's own cache where no mount uses it", () =>
  withParts(async (parts) => {
    const app = createAdminApp(parts);
    const folder = `${parts.root}/cache/fscache/cache`;
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeFile(`${folder}/file`, new Uint8Array(100_000).fill(1));
    using file = await Deno.open(`${folder}/file`, { write: true });
    await file.sync(); // some file systems count delayed allocations late
    const freed = async (asked: object) => {
      const response = await app.request("/v1/gc", { method: "POST", body: JSON.stringify(asked) });
      return (await response.json()).kernel_bytes;
    };
    assert.equal(await freed({}), 0);
    assert.ok(await freed({ all: true, dry_run: true }) >= 100_000);
    assert.ok(await freed({ all: true }) >= 100_000);
    assert.equal(await freed({ all: true }), 0);
  }));

Deno.test("a read-only client gets health and metrics, nothing else", () =>
  withParts(async (parts) => {
    const app = createObserverApp(parts);
    assert.equal((await app.request("/healthz")).status, 200);
    assert.equal((await app.request("/metrics")).status, 200);
    assert.equal((await app.request("/v1/status")).status, 404);
    assert.equal((await app.request("/v1/log-level", { method: "PUT", body: '{"level":"debug"}' })).status, 404);
  }));

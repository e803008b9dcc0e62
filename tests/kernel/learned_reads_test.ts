/**
 * A `serve` that has recorded which reads containers of an image waited for: a cold start from another layer fetches
 * these first.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { bootstrapLayerTar } from "../../lib/image/build/image_builder.ts";
import { walkTree } from "../../lib/rafs/walk.ts";
import { buildFrom } from "../support/rafs/built_rafs.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";
import { MemoryBlob } from "../support/rafs/rafs_fixtures.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { until } from "../support/until.ts";
import { knownBytes } from "../support/mount/verifying_reader.ts";

const FILES = 12;
const FILE_BYTES = 64 * 1024;
/** Files that the container reads, in this order. */
const READ = [7, 2, 9];

const BUILT = await buildFrom(
  tarOf(...Array.from({ length: FILES }, (_, n) => file(String(n).padStart(2, "0"), knownBytes(n, FILE_BYTES)))),
  { chunkSize: FILE_BYTES },
  1 << 20,
);

/** Offset of each file's only chunk in the blob, by file. */
const OFFSETS = ((): number[] => {
  const { bootstrap, blob } = BUILT;
  const [descriptor] = bootstrap.blobs;
  assert.ok(descriptor !== undefined);
  const { compressedOffset } = MemoryBlob.open(bootstrap, descriptor, blob).columns;
  const offsets: number[] = [];
  for (const { ino, attr, path } of walkTree(bootstrap)) {
    if ((attr.mode & 0o170000) !== 0o100000) continue;
    const [extent] = bootstrap.extents(ino, 0, 1);
    offsets[Number(new TextDecoder().decode(path).replace("/", ""))] = compressedOffset[extent?.chunkIndex ?? NaN] ??
      NaN;
  }
  return offsets;
})();

/** The files whose data was requested, in order of the requests. */
function filesAsked(registry: FakeRegistry): number[] {
  return registry.dataRequests.flatMap(({ headers }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(String(headers.range ?? "")) ?? [];
    if (first === undefined) return [];
    return OFFSETS.flatMap((offset, n) => offset >= Number(first) && offset <= Number(last) ? [n] : []);
  });
}

/** Runs `test` with a container of the image, with these names and variables, on an empty cache. */
async function withContainer(
  temp: TempDir,
  registry: FakeRegistry,
  { image, env }: { image: string; env: Record<string, string> },
  test: (root: string) => Promise<void>,
): Promise<void> {
  const backend = { type: "registry", config: { host: registry.host, repo: "app", scheme: "http" } };
  Deno.writeTextFileSync(
    temp.join("config.json"),
    JSON.stringify({ device: { backend }, mode: "direct", amplify_io: 0 }),
  );
  await using driver = await GraphDriverProcess.start(temp.path, { env });
  try {
    const Opts = [`nydus-gd.config=${temp.join("config.json")}`];
    await driver.call("GraphDriver.Init", { Home: temp.join("home"), Opts });
    await driver.call("GraphDriver.Create", { ID: image });
    await driver.apply(image, bootstrapLayerTar(BUILT.bytes));
    await driver.call("GraphDriver.CreateReadWrite", { ID: `${image}-box`, Parent: image });
    const { Dir } = await driver.call("GraphDriver.Get", { ID: `${image}-box` });
    await test(String(Dir));
    await driver.call("GraphDriver.Put", { ID: `${image}-box` });
    for (const ID of [`${image}-box`, image]) await driver.call("GraphDriver.Remove", { ID });
    await driver.stop();
    assert.deepEqual(mountsBelow(temp.path), []);
  } finally {
    unmountBelow(temp.path);
  }
  for (const { name } of Deno.readDirSync(temp.join("root/cache"))) Deno.removeSync(temp.join(`root/cache/${name}`));
}

async function reads(root: string, files: readonly number[]): Promise<void> {
  for (const n of files) {
    const bytes = await Deno.readFile(`${root}/${String(n).padStart(2, "0")}`);
    assert.deepEqual(bytes, knownBytes(n, FILE_BYTES));
  }
}

/** Resolves when every file was requested. */
function allAsked(registry: FakeRegistry): Promise<void> {
  return until("every file was requested", () => new Set(filesAsked(registry)).size === FILES);
}

/** One read-ahead request at a time, so that requests arrive in the order in which they are made. */
const IN_ORDER = { NYDUS_GD_PREFETCH_ENABLED: "true", NYDUS_GD_FETCH_PARALLEL_PER_HOST: "2" };

fuseTest(
  "the reads of a first container are fetched first when the image is cold again",
  async () => {
    using temp = TempDir.make();
    await using registry = await FakeRegistry.start();
    registry.addBlob(BUILT.blob);
    await withContainer(temp, registry, { image: "one", env: {} }, (root) => reads(root, READ));
    assert.deepEqual(filesAsked(registry), READ);
    const folder = temp.join("root/state/learned");
    const [kept, ...others] = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assert.match(kept ?? "", /^[0-9a-f]{64}\.json$/);
    assert.deepEqual(others, []);
    const { size, mode } = Deno.statSync(`${folder}/${kept}`);
    assert.ok(size < 200 && ((mode ?? 0) & 0o777) === 0o600, `${size} bytes, mode ${mode?.toString(8)}`);

    registry.requests.length = 0;
    await withContainer(temp, registry, { image: "two", env: IN_ORDER }, () => allAsked(registry));
    assert.deepEqual(filesAsked(registry).slice(0, READ.length), READ);

    registry.requests.length = 0;
    const env = { ...IN_ORDER, NYDUS_GD_PREFETCH_LEARNED: "false" };
    await withContainer(temp, registry, { image: "three", env }, () => allAsked(registry));
    assert.notDeepEqual(filesAsked(registry).slice(0, READ.length), READ, "disabled");

    registry.requests.length = 0;
    await withContainer(temp, registry, { image: "four", env: {} }, (root) => reads(root, [4]));
    assert.deepEqual(filesAsked(registry), [4], "nothing is prefetched when disabled");
    registry.requests.length = 0;
    await withContainer(temp, registry, { image: "five", env: IN_ORDER }, () => allAsked(registry));
    assert.deepEqual(filesAsked(registry).slice(0, READ.length + 1), [...READ, 4], "a later start adds to it");
  },
);

fuseTest("learned reads are fetched first even with a single parallel request", async () => {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start();
  registry.addBlob(BUILT.blob);
  await withContainer(temp, registry, { image: "one", env: {} }, (root) => reads(root, READ));
  registry.requests.length = 0;
  const env = { ...IN_ORDER, NYDUS_GD_FETCH_PARALLEL_PER_HOST: "1" };
  await withContainer(temp, registry, { image: "two", env }, () => allAsked(registry));
  assert.deepEqual(new Set(filesAsked(registry).slice(0, READ.length)), new Set(READ));
});

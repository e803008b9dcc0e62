/**
 * Snapshots on a real file system and in real overlays, with directories as lazy images.
 *
 * @module
 */
import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { setxattr } from "../../ffi/sys_xattr.ts";
import { lazySnapshotsIn } from "../../lib/snapshot/lazy_snapshots.ts";
import type { Labels } from "../../lib/snapshot/labels.ts";
import { SnapshotStore } from "../../lib/snapshot/snapshot_store.ts";
import { FOLDER_BOOTSTRAP } from "../support/layer/folder_images.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { rootTest } from "../support/root_test.ts";
import { mountSnapshot, PLAIN, SnapshotHome } from "../support/layer/snapshot_home.ts";
import { namesIn } from "../support/layer/store_layers.ts";
import { Tmpfs } from "../support/tmpfs.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";

function test(name: string, fn: (home: SnapshotHome) => Promise<void>): void {
  rootTest(name, async () => {
    await using home = await SnapshotHome.make();
    await fn(home);
  });
}

const labels = (pairs: Record<string, string>): Labels => new Map(Object.entries(pairs));
const noUsage = () => Promise.resolve({ bytes: 0, inodes: 0 });
const REFERENCE = "registry.example/app:1";
const unpacking = (target: string): Labels =>
  labels({ "containerd.io/snapshot.ref": target, "containerd.io/snapshot/cri.image-ref": REFERENCE });
const blobOf = (target: string): Labels =>
  labels({ "containerd.io/snapshot.ref": target, "containerd.io/snapshot/nydus-blob": "true" });

/** Commits a bootstrap layer whose image is a directory with the file `usr/lazy`. Returns that directory. */
async function lazyLayer(home: SnapshotHome, name: string, parent = ""): Promise<string> {
  const image = `${home.scratch}/image`;
  await Deno.mkdir(`${image}/usr`, { recursive: true });
  await Deno.writeTextFile(`${image}/usr/lazy`, "fetched on first touch");
  await Deno.chmod(image, 0o711);
  await home.layer(name, parent, { "image/image.boot": FOLDER_BOOTSTRAP + image }, unpacking(name));
  return image;
}

test("a container sees its layers, writes to its own, and nothing of it is left", async (home) => {
  const { store } = home;
  await home.layer("base", "", { "d/kept": "1", "d/gone": "2" });
  await home.layer("top", "base", { "new": "3" });
  const mounts = await store.prepare("box", "top", PLAIN);
  await home.inside(mounts, async (root) => {
    deepEqual([namesIn(root), namesIn(`${root}/d`)], [["d", "new"], ["gone", "kept"]]);
    await Deno.remove(`${root}/d/gone`);
    await Deno.writeTextFile(`${root}/written`, "x".repeat(10_000));
  });
  deepEqual(await store.mounts("box"), mounts);
  const { bytes, inodes } = await store.usage("box");
  deepEqual([bytes >= 10_000 && bytes < 100_000, inodes], [true, 4], "the root, d, its whiteout, and the new file");
  await home.inside(
    await store.view("look", "top", PLAIN),
    (root) => deepEqual(namesIn(`${root}/d`), ["gone", "kept"]),
  );
  await rejects(store.remove("top"), { code: "busy" });
  for (const name of ["look", "box", "top", "base"]) await store.remove(name);
  deepEqual(namesIn(`${home.dir}/snapshots`), []);
});

test("everything that was confirmed is there after a kill, and nothing else", async (home) => {
  const { store } = home;
  await home.layer("base", "", { "f": "1" }, labels({ kept: "1" }));
  const mounts = await store.prepare("box", "base", labels({ constructor: "2" }));
  const before = store.list([]).map(({ name, parent, kind, labels }) => ({ name, parent, kind, labels }));
  const target = `${home.scratch}/running`;
  mountSnapshot(mounts, target);
  await Deno.mkdir(`${home.dir}/making/77/fs`, { recursive: true });
  await Deno.mkdir(`${home.dir}/removing/snapshot-76-x/fs`, { recursive: true });

  const again = await home.reopen();
  deepEqual(again.list([]).map(({ name, parent, kind, labels }) => ({ name, parent, kind, labels })), before);
  deepEqual(await again.mounts("box"), mounts);
  deepEqual([namesIn(`${home.dir}/making`), namesIn(`${home.dir}/removing`)], [[], []]);
  equal(await Deno.readTextFile(`${target}/f`), "1");
  unmountBelow(target);
  await again.prepare("new", "base", PLAIN);
  equal(new Set(again.list([]).map(({ number }) => number)).size, 3);
});

test("a damaged record hides its snapshot and those on it, but no other", async (home) => {
  await using _quiet = await quietLogs();
  await home.layer("base", "", { "f": "1" });
  await home.store.prepare("box", "base", PLAIN);
  await home.store.prepare("other", "", PLAIN);
  await Deno.writeTextFile(`${home.dir}/snapshots/1/record.json`, "{");
  const store = await home.reopen();
  await rejects(store.mounts("box"), { code: "corrupt", message: /"base" is gone/ });
  equal((await store.mounts("other")).length, 1);
  deepEqual(namesIn(`${home.dir}/snapshots/1`), ["fs", "record.json", "work"]);

  const [damaged = "", gone = "", ...more] = store.warnings;
  match(damaged, /^snapshot 1 is damaged: Cannot read ".*\/snapshots\/1\/record\.json": .*; save .*\/1\/fs, .*delete/);
  match(gone, /^snapshot "base" is gone, without which these cannot be used: "box"; remove the containers and images/);
  deepEqual(more, []);
  await store.remove("box");
  await Deno.remove(`${home.dir}/snapshots/1`, { recursive: true });
  deepEqual(store.warnings, []);
});

test("whatever lies in the place of a record or of a snapshot, the others are served", async (home) => {
  await using _quiet = await quietLogs();
  for (let made = 1; made <= 3; made++) await home.store.prepare(`box ${made}`, "", PLAIN);
  const folder = (number: number) => `${home.dir}/snapshots/${number}`;
  await Deno.remove(`${folder(1)}/record.json`);
  await Deno.remove(`${folder(2)}/record.json`);
  await Deno.mkdir(`${folder(2)}/record.json`);
  await Deno.writeTextFile(folder(77), "");
  const store = await home.reopen();
  deepEqual(store.list([]).map(({ name }) => name), ["box 3"]);
});

test("containers whose snapshots were deleted behind containerd's back are reported until they end", async (home) => {
  await using _quiet = await quietLogs();
  await home.layer("base", "", { "f": "1" });
  const mounts = await home.store.prepare("box", "base", PLAIN);
  const snapshots = `${home.dir}/snapshots`;
  await home.inside(mounts, async () => {
    deepEqual((await home.reopen()).warnings, []);
    await Deno.rename(snapshots, `${snapshots}.lost`);
    const [lost = "", ...more] = (await home.reopen()).warnings;
    equal(lost.split(";")[0], `containers run on snapshots that are gone, and may lack files: ${snapshots}/2/fs`);
    deepEqual(more, []);
  });
  deepEqual(home.store.warnings, []);
});

test("the folder of a damaged snapshot is never used for another one, even if the numbers are lost", async (home) => {
  await using _quiet = await quietLogs();
  await home.store.prepare("damaged", "", PLAIN);
  await Deno.writeTextFile(`${home.dir}/snapshots/1/fs/kept`, "1");
  await Deno.writeTextFile(`${home.dir}/snapshots/1/record.json`, "{");
  await Deno.remove(`${home.dir}/numbers.json`);
  const before = Date.now();
  const [mount] = await (await home.reopen()).prepare("new", "", PLAIN);
  equal(
    Number(mount?.source.split("/").at(-2)) >= before,
    true,
    `${mount?.source} is no folder of an earlier snapshot`,
  );
  equal(await Deno.readTextFile(`${home.dir}/snapshots/1/fs/kept`), "1");
});

test("a disk that is full, or almost, does not keep the store from opening, and its snapshots can be removed", async (home) => {
  await using _quiet = await quietLogs();
  using disk = new Tmpfs("nr_inodes=60");
  const open = () => SnapshotStore.open(disk.join("s"), { lazyImages: home.images, differ: { usage: noUsage } });
  await (await open()).prepare("box", "", PLAIN);
  const fill = (number: number) => disk.join(`fill-${number}`);
  let last = 0;
  await rejects(async () => {
    for (;; last++) await Deno.writeTextFile(fill(last), "");
  }, { code: "ENOSPC" });
  for (let free = 0; free < 20; free++) {
    const store = await open();
    deepEqual(store.list([]).map(({ name }) => name), ["box"], `${free} inodes are free`);
    await Deno.remove(fill(free));
  }
  const store = await open();
  for (let number = 0; number < 20; number++) await Deno.writeTextFile(fill(number), "");
  await rejects(store.prepare("other", "", PLAIN), { code: "ENOSPC" });
  await store.remove("box");
  deepEqual(namesIn(disk.join("s/snapshots")), []);
});

test("a snapshot whose folder somebody deleted can be removed", async (home) => {
  const { store } = home;
  await home.layer("base", "", { "f": "1" });
  await store.prepare("box", "base", PLAIN);
  for (const number of [1, 2]) await Deno.remove(`${home.dir}/snapshots/${number}`, { recursive: true });
  await store.remove("box");
  await store.remove("base");
  deepEqual(store.list([]), []);
});

test("a snapshot that is removed or committed while its image is mounted holds nothing", async (home) => {
  const { store, images } = home;
  await lazyLayer(home, "lazy");
  await store.prepare("box", "lazy", PLAIN);
  await store.prepare("made", "lazy", PLAIN);
  const registry = Promise.withResolvers<void>();
  images.registry = registry.promise;
  const mounting = ["box", "made"].map((key) => rejects(store.mounts(key), { code: "not-found" }));
  await store.remove("box");
  await store.commit("layer", "made", PLAIN);
  registry.resolve();
  await Promise.all(mounting);
  deepEqual(images.heldBy("snapshot-1"), []);
});

test("a bootstrap stands for everything below it, in containers, views and layers above it", async (home) => {
  const { store, images } = home;
  await home.layer("hidden", "", { "below": "x" });
  const image = await lazyLayer(home, "lazy", "hidden");
  deepEqual(images.prepared, ["snapshot-2"]);
  await home.layer("over", "lazy", { "usr/ordinary": "y" });
  const mounts = await store.prepare("box", "over", PLAIN);
  await home.inside(mounts, (root) => {
    deepEqual([namesIn(root), namesIn(`${root}/usr`)], [["usr"], ["lazy", "ordinary"]]);
    equal((Deno.statSync(root).mode ?? 0) & 0o777, 0o711);
  });
  const view = await store.view("look", "lazy", PLAIN);
  deepEqual(view, [{ type: "bind", source: image, options: ["ro", "rbind"] }]);
  deepEqual(
    images.heldBy("snapshot-2"),
    ["snapshot-4", "snapshot-5"],
    "the layer that was unpacked above it holds nothing",
  );
  await store.remove("look");
  await store.remove("box");
  deepEqual(images.heldBy("snapshot-2"), []);
  await store.remove("over");
  await store.remove("lazy");
  deepEqual(images.forgotten, ["snapshot-2"]);
});

test("the image of a snapshot is listed as a layer with the reference and the diffID that are known", async (home) => {
  const digest = `sha256:${"ab".repeat(32)}`;
  await lazyLayer(home, digest);
  deepEqual(await lazySnapshotsIn(home.dir), [{
    id: "snapshot-1",
    bootstrapPath: `${home.dir}/snapshots/1/fs/image/image.boot`,
    home: home.dir,
    diffId: digest,
    reference: REFERENCE,
  }]);
  deepEqual(await lazySnapshotsIn(`${home.scratch}/nothing`), []);
});

test("what only looks like a bootstrap is refused when it is committed, and can be removed", async (home) => {
  const { store } = home;
  const failed = home.layer("lazy", "", { "image/image.boot": "no bootstrap" }, unpacking("lazy"));
  await rejects(failed, { code: "invalid-image" });
  equal(store.stat("extract lazy").kind, "active");
  await rejects(() => Promise.resolve().then(() => store.stat("lazy")), { code: "not-found" });
  await store.remove("extract lazy");
  deepEqual(store.list([]), []);
});

test("data of a nydus image needs no files, and is found by its reference", async (home) => {
  const { store } = home;
  await rejects(store.prepare("extract 1", "", blobOf("chain-1")), { code: "exists" });
  await rejects(store.prepare("extract 2", "", blobOf("chain-1")), { code: "exists" });
  await rejects(store.prepare("extract 3", "chain-1", blobOf("chain-2")), { code: "exists" });
  deepEqual(store.list([]).map(({ name, parent, kind }) => [name, parent, kind]), [
    ["chain-1", "", "committed"],
    ["chain-2", "chain-1", "committed"],
  ]);
  deepEqual(store.list(['labels."containerd.io/snapshot.ref"==chain-2,parent=="chain-1"']).length, 1);
  const image = await lazyLayer(home, "chain-3", "chain-2");
  deepEqual(await store.view("look", "chain-3", PLAIN), [
    { type: "bind", source: image, options: ["ro", "rbind"] },
  ]);
});

test("data of a nydus image never passes for an empty layer", async (home) => {
  const { store } = home;
  await rejects(store.prepare("extract 1", "", blobOf("base")), { code: "exists" });
  for (const make of [store.prepare.bind(store), store.view.bind(store)]) {
    await rejects(make("box", "base", PLAIN), {
      code: "invalid-image",
      message: /layer base is data of a nydus image/,
    });
  }
  await rejects(home.layer("top", "base", { "f": "1" }, unpacking("top")), { code: "invalid-image" });
  deepEqual(store.list([]).map(({ name }) => name).sort(), ["base", "extract top"]);
});

test("a container whose image cannot be mounted is not created, and one that exists stays", async (home) => {
  const { store, images } = home;
  await lazyLayer(home, "lazy");
  await store.prepare("box", "lazy", PLAIN);
  images.broken = true;
  await rejects(store.prepare("other", "lazy", PLAIN), { code: "unavailable" });
  await rejects(store.mounts("box"), { code: "unavailable" });
  deepEqual(store.list(["kind==active"]).map(({ name }) => name), ["box"]);
});

test("after a restart, images that are mounted are held again, and what has lost its image is told", async (home) => {
  await using _quiet = await quietLogs();
  const { images } = home;
  await lazyLayer(home, "lazy");
  const target = `${home.scratch}/running`;
  mountSnapshot(await home.store.prepare("box", "lazy", PLAIN), target);
  await home.store.prepare("stopped", "lazy", PLAIN);
  images.holders.clear();

  const lost = await home.reopen();
  deepEqual(images.heldBy("snapshot-1"), []);
  equal(lost.warnings.length, 1);
  match(lost.warnings[0] ?? "", /^1 mounted layer lost its image/);
  await lost.mounts("box");
  deepEqual(lost.warnings, [], "its container is going to be started again");
  images.holders.clear();

  images.mounted.add("snapshot-1");
  const held = await home.reopen();
  deepEqual(images.heldBy("snapshot-1"), ["snapshot-2", "snapshot-3"]);
  deepEqual(held.warnings, []);
  unmountBelow(target);
  await held.remove("box");
  await held.remove("stopped");
  deepEqual(images.heldBy("snapshot-1"), []);
});

test("an opaque root hides what is below", async (home) => {
  await home.layer("base", "", { "hidden": "1" });
  const mounts = await home.store.prepare("extract", "base", PLAIN);
  const upper = mounts[0]?.options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length) ?? "";
  await Deno.writeTextFile(`${upper}/shown`, "2");
  setxattr(upper, "trusted.overlay.opaque", Uint8Array.of(0x79));
  await home.store.commit("opaque", "extract", PLAIN);
  await home.inside(await home.store.prepare("box", "opaque", PLAIN), (root) => deepEqual(namesIn(root), ["shown"]));
});

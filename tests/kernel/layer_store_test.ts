import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { MNT, mount, umount2 } from "../../ffi/sys_mount.ts";
import type { LayerStore } from "../../lib/layer/layer_store.ts";
import type { LazyLayer } from "../../lib/layer/lazy/lazy_images.ts";
import { lazyLayersIn } from "../../lib/layer/record/lazy_layers.ts";
import { mountCount, mountsBelow } from "../../ffi/mountinfo.ts";
import { FOLDER_BOOTSTRAP } from "../support/layer/folder_images.ts";
import { storeTest, WITHOUT_DOCKER } from "../support/layer/store_home.ts";
import { container, layer, lazyLayer, namesIn } from "../support/layer/store_layers.ts";
import { dir, file, namesOf, opaque, tarOf, whiteout } from "../support/archive/tar_builder.ts";

/** Names that the layer has in one folder. */
async function shown(store: LayerStore, id: string, folder = ""): Promise<string[]> {
  const path = await store.get(id);
  try {
    return namesIn(`${path}/${folder}`);
  } finally {
    await store.put(id);
  }
}

storeTest("layers that name each other as parent are refused, and wait for nobody", async ({ store }) => {
  const made = await Promise.allSettled([store.create("a", { parent: "b" }), store.create("b", { parent: "a" })]);
  deepEqual(made.map((one) => one.status === "rejected" && one.reason.code), ["not-found", "not-found"]);
  await rejects(store.create("a", { parent: "a" }), { code: "not-found" });
});

storeTest("a container sees its layers, writes to its own, and is removed completely", async (home) => {
  const { store } = home;
  await layer(store, "base", "", dir("d"), file("d/kept", "1"), file("d/gone", "2"));
  await layer(store, "top", "base", whiteout("d/gone"), file("new", "3"));
  await container(store, "box", "top");
  const path = await store.get("box");
  equal(path, `${store.home}/box/merged`);
  deepEqual(namesIn(`${path}/d`), ["kept"]);
  await Deno.writeTextFile(`${path}/d/written`, "4");
  deepEqual(await store.changes("box", "box-init"), [{ path: "/d", kind: 0 }, { path: "/d/written", kind: 1 }]);
  const tar = new Uint8Array(await new Response(await store.diff("box", "box-init")).arrayBuffer());
  deepEqual(namesOf(tar), ["d/", "d/written"]);
  equal(await store.diffSize("box", "box-init"), 1);
  await store.put("box");
  equal(mountCount(path), 0);
  for (const id of ["box", "box-init", "top", "base"]) await store.remove(id);
  deepEqual(namesIn(home.path), [".lock", ".making", ".removing", "l"]);
  deepEqual(namesIn(`${home.path}/l`), []);
});

storeTest("a bootstrap layer is replaced by its image; upper layers are ordinary, lower ones hidden", async (home) => {
  const { store, images } = home;
  await layer(store, "hidden", "", file("below", "x"));
  const image = await lazyLayer(home, "lazy", "hidden");
  await layer(store, "over", "lazy", dir("usr"), file("usr/ordinary", "y"));
  await container(store, "box", "over");

  images.broken = true; // saving and pushing need no image
  deepEqual(await shown(store, "lazy"), ["image"]);
  deepEqual(await shown(store, "over", "usr"), ["ordinary"]);
  images.broken = false;
  deepEqual(await shown(store, "box"), ["usr"]);
  deepEqual(await shown(store, "box", "usr"), ["lazy", "ordinary"]);
  deepEqual(images.heldBy("lazy"), []);

  await store.get("box");
  deepEqual(images.heldBy("lazy"), ["box"]);
  equal((await Deno.stat(await store.get("box"))).mode, (await Deno.stat(image)).mode);
  await store.put("box");
  deepEqual(images.heldBy("lazy"), ["box"]);
  await store.put("box");
  deepEqual(images.heldBy("lazy"), []);

  equal((await store.metadata("box"))["Kind"], "folder image");
  equal((await store.metadata("lazy"))["Bootstrap"], `${store.home}/lazy/diff/image/image.boot`);
  deepEqual(await store.changes("box", "box-init"), []);
  const own = new Uint8Array(await new Response(await store.diff("lazy", "hidden")).arrayBuffer());
  deepEqual(namesOf(own), ["image/", "image/image.boot"]);
  const whole = new Uint8Array(await new Response(await store.diff("over")).arrayBuffer());
  deepEqual(namesOf(whole), ["usr/", "usr/lazy", "usr/ordinary"]);
  deepEqual(images.heldBy("lazy"), []);

  deepEqual(images.prepared, ["lazy"]);
  for (const id of ["box", "box-init", "over", "lazy"]) await store.remove(id);
  deepEqual(images.forgotten, ["lazy"]);
});

storeTest("an invalid bootstrap fails its ApplyDiff with an error, and nothing of the layer is left", async (home) => {
  const { store } = home;
  await store.create("foreign");
  const tar = tarOf(dir("image"), file("image/image.boot", "something else"));
  await rejects(
    () => store.applyDiff("foreign", new Blob([tar]).stream()),
    /Cannot read bootstrap .*: no folder image/,
  );
  deepEqual(namesIn(`${home.path}/foreign/diff`), []);
  await rejects(() => store.get("foreign"), /its ApplyDiff failed \(Cannot read bootstrap/);
  await rejects(() => store.create("child", { parent: "foreign" }), /its ApplyDiff failed/);
  await rejects(() => store.applyDiff("foreign", new Blob([]).stream()), {
    code: "exists",
    message: /no folder image/,
  });
  await store.remove("foreign");
  equal(await store.exists("foreign"), false);
});

storeTest("a bootstrap layer written without ApplyDiff is recognised once another is created on it", async (home) => {
  const { store } = home;
  const image = `${home.scratch}/image`;
  await Deno.mkdir(`${image}/etc`, { recursive: true });
  await store.create("z9q3v6s0kq0m4t5l7w1x2y8ab");
  const path = await store.get("z9q3v6s0kq0m4t5l7w1x2y8ab");
  await Deno.mkdir(`${path}/image`);
  await Deno.writeTextFile(`${path}/image/image.boot`, FOLDER_BOOTSTRAP + image);
  await store.put("z9q3v6s0kq0m4t5l7w1x2y8ab");
  await container(store, "box", "z9q3v6s0kq0m4t5l7w1x2y8ab");
  deepEqual(await shown(store, "box"), ["etc"]);
});

storeTest("the bootstrap layers that the store knows are those on the disk, after every change", async (home) => {
  const byId = (layers: readonly LazyLayer[]) => layers.toSorted((a, b) => a.id < b.id ? -1 : 1);
  const requireKnown = async (...expected: string[]) => {
    deepEqual(byId(home.store.lazyLayers), byId(await lazyLayersIn(home.path)));
    deepEqual(byId(home.store.lazyLayers).map(({ id }) => id), expected);
  };
  await layer(home.store, "plain", "", file("f", "x"));
  const image = await lazyLayer(home, "applied");
  await lazyLayer(home, "other");
  await requireKnown("applied", "other");
  const [before] = home.store.lazyLayers;
  await home.store.create("written");
  await Deno.mkdir(`${home.path}/written/diff/image`);
  await Deno.writeTextFile(`${home.path}/written/diff/image/image.boot`, FOLDER_BOOTSTRAP + image);
  await requireKnown("applied", "other");
  await home.store.create("top", { parent: "written" });
  await requireKnown("applied", "other", "written");
  equal(home.store.lazyLayers[0], before, "it is the same object");
  await layer(home.store, "bad", "", dir("image"), file("image/image.boot", "no bootstrap")).catch(() => {});
  await requireKnown("applied", "other", "written");
  await Deno.mkdir(`${home.path}/other/foreign`);
  mount("tmpfs", `${home.path}/other/foreign`, "tmpfs", 0, "");
  await rejects(() => home.store.remove("other"), /is mounted at/);
  await requireKnown("applied", "other", "written");
  umount2(`${home.path}/other/foreign`, 0);
  await Promise.all(["other", "top", "bad"].map((id) => home.store.remove(id)));
  await requireKnown("applied", "written");
  await home.reopen();
  await requireKnown("applied", "written");
});

storeTest("an image that cannot be mounted fails the Get and leaves nothing mounted or held", async (home) => {
  const { store, images } = home;
  await lazyLayer(home, "lazy");
  await container(store, "box", "lazy");
  images.broken = true;
  await rejects(() => store.get("box"), /registry is down/);
  deepEqual(images.heldBy("lazy"), []);
  equal(mountCount(`${store.home}/box/merged`), 0);
  images.broken = false;
  deepEqual(await shown(store, "box"), ["usr"]);
});

storeTest("a layer with an opaque root hides everything below it", async (home) => {
  const { store } = home;
  await layer(store, "base", "", file("below"));
  await layer(store, "top", "base", opaque(""), file("above"));
  await container(store, "box", "top");
  deepEqual(await shown(store, "box"), ["above"]);
  ok((await shown(store, "top")).includes("above"));
});

storeTest("mounts outlive the process: counted once, at the same path, with their image", async (home) => {
  await lazyLayer(home, "lazy");
  await container(home.store, "box", "lazy");
  const path = await home.store.get("box");
  await home.store.get("box");
  await Deno.writeTextFile(`${path}/written`, "kept");
  home.images.holders.clear();

  const store = await home.reopen();
  equal(store.mountedCount, 1);
  deepEqual(home.images.heldBy("lazy"), ["box"]);
  equal(await Deno.readTextFile(`${path}/written`), "kept");
  equal(await store.get("box"), path);
  await store.put("box");
  equal(mountCount(path), 1);
  await store.put("box");
  equal(mountCount(path), 0);
  deepEqual(home.images.heldBy("lazy"), []);
});

storeTest("Cleanup unmounts everything, and keeps the layers", async (home) => {
  const { store } = home;
  await layer(store, "base", "", file("f", "x"));
  await container(store, "box", "base");
  for (let i = 0; i < 3; i++) await store.get("box");
  await store.cleanup();
  deepEqual(mountsBelow(store.home), []);
  deepEqual(await shown(store, "box"), ["f"]);
});

storeTest("a home has one store at a time", async (home) => {
  await rejects(() => home.open(), { code: "busy", message: /another nydus-gd uses it/ });
  await home.reopen();
});

storeTest("Remove ends an ApplyDiff that waits for its tar", async (home) => {
  const { store } = home;
  await store.create("slow");
  const reading = Promise.withResolvers<void>();
  let cancelled = false;
  const head = tarOf(file("f", "x".repeat(100_000))).slice(0, 50_000);
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(head),
    pull: () => reading.resolve(),
    cancel: () => void (cancelled = true),
  });
  const applied = store.applyDiff("slow", body);
  const failed = rejects(applied, { code: "interrupted", message: /it is being removed/ });
  await reading.promise;
  await store.remove("slow");
  await failed;
  equal(cancelled, true);
  equal(await store.exists("slow"), false);
  await rejects(() => store.applyDiff("slow", new Blob([]).stream()), { code: "not-found" });
});

storeTest("a failed Create leaves nothing, and quotas are refused by name", async (home) => {
  const { store } = home;
  await rejects(() => store.create("a", { parent: "nobody" }), { code: "not-found", hint: /nydus-gd doctor/ });
  await rejects(() => store.create("a", { parent: "a" }), { code: "not-found" });
  const sized = { storageOptions: { size: "1G" } };
  const message = /^Cannot create layer a: a size needs project quotas, and \/\S+ is on \w+ without any$/;
  await rejects(() => store.createReadWrite("a", sized), { code: "unsupported", message });
  await rejects(() => store.create("a", sized), { code: "usage", message: /only containers/ });
  await rejects(() => store.createReadWrite("a", { storageOptions: { size: "big" } }), { code: "usage" });
  for (const id of ["", "..", "../x", "a/b", ".making", "l"]) {
    await rejects(() => store.create(id), { code: "usage" }, id);
    await rejects(() => store.remove(id), { code: "usage" }, id);
  }
  deepEqual(namesIn(home.path), [".lock", ".making", ".removing", "l"]);
  deepEqual(namesIn(`${home.path}/.making`), []);
});

storeTest("a repeated Create succeeds while the layer is untouched", async (home) => {
  const { store } = home;
  await store.create("base");
  await store.create("base");
  await store.create("top", { parent: "base" });
  await rejects(() => store.create("base"), { code: "exists" });
  await rejects(() => store.create("top"), { code: "exists" });
  await rejects(() => store.applyDiff("base", new Blob([]).stream()), /other layers are stacked on it/);
});

storeTest("nothing is deleted through a foreign mount", async (home) => {
  const { store } = home;
  await store.create("a");
  const outside = `${home.scratch}/outside`;
  await Deno.mkdir(outside);
  await Deno.writeTextFile(`${outside}/precious`, "");
  const inside = `${await store.get("a")}/mnt`;
  await Deno.mkdir(inside);
  mount(outside, inside, null, 4096);
  try {
    await rejects(() => store.remove("a"), { code: "busy", message: /is mounted at/ });
    deepEqual(namesIn(outside), ["precious"]);
    equal(await store.exists("a"), true);
  } finally {
    umount2(inside, MNT.DETACH);
  }
  await store.remove("a");
  deepEqual(namesIn(outside), ["precious"]);
});

storeTest("a home on an overlay is refused by name", async (home) => {
  const { store } = home;
  await layer(store, "base", "", file("f"));
  await container(store, "box", "base");
  const path = await store.get("box");
  try {
    const { LayerStore } = await import("../../lib/layer/layer_store.ts");
    const { images: lazyImages, applier, differ } = home;
    await rejects(
      () => LayerStore.open(`${path}/home`, { ...WITHOUT_DOCKER, lazyImages, applier, differ }),
      { code: "environment", message: /Cannot keep layers in .* on overlayfs: / },
    );
    deepEqual(namesIn(`${path}/home`), [".lock"]);
  } finally {
    await store.put("box");
  }
});

storeTest("an SELinux label has no effect without SELinux", async (home) => {
  const { store } = home;
  await layer(store, "base", "", file("f"));
  await container(store, "box", "base");
  const path = await store.get("box", "system_u:object_r:container_file_t:s0:c1,c2");
  deepEqual(namesIn(path), ["f"]);
  await store.put("box");
});

storeTest("200 layers stack, in a home whose name contains all option separators", async (home) => {
  const { store } = home;
  let parent = "";
  for (let i = 0; i < 200; i++) {
    const id = `${i}`.padStart(64, "0");
    await store.create(id, { parent });
    await Deno.writeTextFile(`${store.home}/${id}/diff/f${i}`, "");
    parent = id;
  }
  await container(store, "box", parent);
  equal((await shown(store, "box")).length, 200);
  match((await store.metadata("box"))["LowerDir"] ?? "", /latest/);
}, "nydus gd:latest,a\\b");

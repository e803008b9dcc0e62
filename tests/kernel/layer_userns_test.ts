import { deepEqual, equal, rejects } from "node:assert/strict";
import { mountCount } from "../../ffi/mountinfo.ts";
import { MNT, mount, umount2 } from "../../ffi/sys_mount.ts";
import { FOLDER_BOOTSTRAP } from "../support/layer/folder_images.ts";
import { storeTest, WITHOUT_DOCKER } from "../support/layer/store_home.ts";
import { container, layer, lazyLayer, namesIn } from "../support/layer/store_layers.ts";
import { device, dir, entriesOf, file, symlink, tarOf } from "../support/archive/tar_builder.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";

storeTest("with a user namespace owners are shifted when unpacking and back when diffing", async (home) => {
  const { images: lazyImages, applier, differ } = home;
  const { LayerStore } = await import("../../lib/layer/layer_store.ts");
  const idMaps = {
    uids: [{ containerId: 0, hostId: 100_000, size: 65_536 }],
    gids: [{ containerId: 0, hostId: 200_000, size: 65_536 }],
  };
  await using store = await LayerStore.open(`${home.scratch}/remapped`, {
    ...WITHOUT_DOCKER,
    lazyImages,
    applier,
    differ,
    idMaps,
  });
  const entries = [
    dir("named", { uid: 7, gid: 8 }),
    file("named/f", "x", { uid: 65_535, gid: 1 }),
    symlink("named/l", "f"),
    device("named/c", "char", 1, 3),
    file("implied/f", "x"),
  ];
  await layer(store, "base", "", ...entries);
  await container(store, "box", "base");
  const path = await store.get("box");
  const owner = (name: string) => {
    const { uid, gid } = Deno.lstatSync(`${path}/${name}`);
    return `${uid}:${gid}`;
  };
  deepEqual(["", "named", "named/f", "named/l", "named/c", "implied", "implied/f"].map(owner), [
    "100000:200000",
    "100007:200008",
    "165535:200001",
    ...Array<string>(4).fill("100000:200000"),
  ]);
  for (const folder of [store.home, `${store.home}/box`]) {
    const { mode, uid, gid } = Deno.lstatSync(folder);
    deepEqual([(mode ?? 0) & 0o7777, uid, gid], [0o710, 0, 200_000], folder);
  }
  await store.put("box");

  const tar = new Uint8Array(await new Response(await store.diff("base")).arrayBuffer());
  deepEqual(entriesOf(tar).map(({ name, uid, gid }) => `${new TextDecoder().decode(name)} ${uid}:${gid}`), [
    "implied/ 0:0",
    "implied/f 0:0",
    "named/ 7:8",
    "named/c 0:0",
    "named/f 65535:1",
    "named/l 0:0",
  ]);
  Deno.writeTextFileSync(`${store.home}/box/diff/foreign`, "");
  await rejects(
    async () => await new Response(await store.diff("box")).arrayBuffer(),
    /0:0 is outside the user namesp/,
  );

  await store.create("far");
  const far = tarOf(file("f", "x", { uid: 65_536 }));
  await rejects(store.applyDiff("far", new Blob([far]).stream()), /owner 65536:0 is outside the user namespace/);
});

storeTest("with a user namespace a lazy image shows shifted owners, and its files keep theirs", async (home) => {
  const idMaps = {
    uids: [{ containerId: 0, hostId: 100_000, size: 1000 }, { containerId: 1000, hostId: 300_000, size: 1000 }],
    gids: [],
  };
  const store = await home.reopen({ idMaps });
  const image = await lazyLayer(home, "lazy");
  for (const name of ["far", "gone"]) await Deno.writeTextFile(`${image}/usr/${name}`, "x");
  for (const [name, uid, gid] of [["", 7, 8], ["/usr", 0, 0], ["/usr/lazy", 1001, 9], ["/usr/far", 2000, 0]] as const) {
    await Deno.chown(`${image}${name}`, uid, gid);
  }
  await store.remove("lazy");
  await layer(store, "lazy", "", dir("image"), file("image/image.boot", FOLDER_BOOTSTRAP + image));
  await container(store, "box", "lazy");
  const path = await store.get("box");
  const owner = (at: string) => {
    const { uid, gid } = Deno.lstatSync(at);
    return `${uid}:${gid}`;
  };
  deepEqual(mountPointsBelow(home.scratch), [path]);
  deepEqual(["", "usr", "usr/lazy"].map((name) => owner(`${path}/${name}`)), ["100007:8", "100000:0", "300001:9"]);
  equal(owner(`${path}/usr/far`), "65534:0"); // an image that was verified has none
  equal(owner(`${image}/usr/lazy`), "1001:9");
  await Deno.chmod(`${path}/usr/lazy`, 0o711); // copies it up
  equal(owner(`${store.home}/box/diff/usr/lazy`), "300001:9");
  await Deno.remove(`${path}/usr/gone`);

  const entries = async (id: string, parent: string) =>
    entriesOf(new Uint8Array(await new Response(await store.diff(id, parent)).arrayBuffer()))
      .map(({ name, uid, gid }) => `${new TextDecoder().decode(name)} ${uid}:${gid}`);
  deepEqual(await entries("box", "box-init"), ["usr/ 0:0", "usr/.wh.gone 0:0", "usr/lazy 1001:9"]);
  await rejects(entries("box", ""), /"usr\/far": its owner 65534:0 is outside the user namespace/);
  await Deno.remove(`${image}/usr/far`);
  deepEqual(await entries("box", ""), ["usr/ 0:0", "usr/lazy 1001:9"]);
  deepEqual(await store.changes("box", "box-init"), [
    { path: "/usr", kind: 0 },
    { path: "/usr/gone", kind: 2 },
    { path: "/usr/lazy", kind: 0 },
  ]);
  await store.put("box");
  deepEqual(namesIn(`${store.home}/.making`), []);
  deepEqual(home.images.heldBy("lazy"), []);
});

storeTest("with a user namespace the lost record of an image's layer is written again as it was", async (home) => {
  await using _quiet = await quietLogs();
  const idMaps = { uids: [{ containerId: 0, hostId: 100_000, size: 65_536 }], gids: [] };
  await home.reopen({ idMaps });
  await lazyLayer(home, "lazy");
  const record = `${home.path}/lazy/layer.json`;
  const { bootstrap, diffId } = JSON.parse(await Deno.readTextFile(record));
  equal(bootstrap.root.uid, 100_000); // that of whatever is stacked on it
  await Deno.remove(record);
  const records = { ...WITHOUT_DOCKER.dockerRecords, layer: () => Promise.resolve({ diffId }) };
  await home.reopen({ idMaps, dockerRecords: records });
  deepEqual(JSON.parse(await Deno.readTextFile(record)).bootstrap, bootstrap);
});

storeTest("what a process that was killed while it mounted an image has left is removed", async (home) => {
  const place = `${home.path}/.making/.view-box`;
  await home.reopen();
  await Deno.mkdir(place);
  mount("left", place, "tmpfs", 0);
  await home.reopen();
  deepEqual([mountCount(place), namesIn(`${home.path}/.making`)], [0, []]);
});

storeTest("a kernel that cannot map the owners of an image's file system is told by name", async (home) => {
  const idMaps = { uids: [{ containerId: 0, hostId: 100_000, size: 65_536 }], gids: [] };
  const store = await home.reopen({ idMaps });
  const image = await lazyLayer(home, "lazy");
  mount("proc", image, "proc", 0);
  try {
    await container(store, "box", "lazy");
    await rejects(store.get("box"), {
      code: "unsupported",
      message: /^Cannot show image ".*" to containers: the kernel cannot shift the owners of its file system/,
    });
    deepEqual([home.images.heldBy("lazy"), namesIn(`${store.home}/.making`)], [[], []]);
  } finally {
    umount2(image, MNT.DETACH);
  }
});

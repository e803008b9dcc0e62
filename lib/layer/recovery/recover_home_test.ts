import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { type Layer, loadLayer, stackBelow } from "../record/layer.ts";
import { damagedLayersIn } from "../record/layer_damage.ts";
import { formatLower, HomePaths, newShortName } from "../record/layer_paths.ts";
import { markApplyBegun, markApplyFailed, writeFinished } from "../record/layer_record.ts";
import { makePlainLayer } from "../../../tests/support/layer/plain_layer.ts";
import type { DockerLayer } from "../record/docker_records.ts";
import { GoneLayers } from "../remove/gone_layers.ts";
import { discardLayer } from "../remove/discard_layer.ts";
import { recoverHome } from "./recover_home.ts";
import { namesIn } from "../../../tests/support/layer/store_layers.ts";

/** Creating a layer sets the owner of its root. */
const ignore = Deno.uid() !== 0;
if (ignore) console.log("recovery tests skipped: making a layer needs root");

function test(name: string, run: (home: HomePaths) => Promise<void>): void {
  const fn = async () => {
    const folder = await Deno.makeTempDir();
    try {
      const home = new HomePaths(folder);
      await recover(home);
      await run(home);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  Deno.test({ name, ignore, fn });
}

/** Recovers beside a dockerd that has recorded these layers. */
function recover(home: HomePaths, recorded: Record<string, DockerLayer> = {}) {
  const dockerRecords = {
    layer: (id: string) => Promise.resolve(recorded[id]),
    parents: () => Promise.resolve(parentsIn(recorded)),
  };
  const verify = () => Promise.resolve({ mode: 0o755, uid: 0, gid: 0 });
  return recoverHome(home, { images: { verify }, dockerRecords }, new GoneLayers(home));
}

function parentsIn(recorded: Record<string, DockerLayer>): Map<string, string> {
  return new Map(Object.entries(recorded).flatMap(([id, { parent }]) => parent === undefined ? [] : [[id, parent]]));
}

test("complete layers stay as they are", async (home) => {
  await makePlainLayer(home, "base");
  const base = await loadLayer(home, "base");
  await makePlainLayer(home, "top", base);
  await markApplyBegun(base.paths);
  await writeFinished(base.paths, { opaque: false });
  const { layers, mounted } = await recover(home);
  equal(layers.length, 2);
  deepEqual(mounted, []);
  deepEqual((await loadLayer(home, "top")).lower, [base.short]);
  equal(await Deno.realPath(home.shortLink(base.short)), base.paths.diff);
});

test("a damaged short name is written again, since layers above refer to it, and is never used as a path", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "base");
  const base = await loadLayer(home, "base");
  await makePlainLayer(home, "top", base);
  for (const damage of ["", "AAAA", `${base.short}${base.short}`, "../../elsewhere", "\0\xff", undefined]) {
    if (damage === undefined) await Deno.remove(base.paths.link);
    else await Deno.writeTextFile(base.paths.link, damage);
    if (damage !== undefined) await rejects(loadLayer(home, "base"), /its file link is damaged/);
    const { layers } = await recover(home);
    deepEqual(layers.map(({ id, short }) => id === "base" ? short : id).sort(), [base.short, "top"].sort());
    deepEqual((await loadLayer(home, "top")).lower, [base.short]);
    equal(namesIn(home.links).length, 2);
  }
});

test("short names that were exchanged are written again: layers above show what they showed", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "a");
  await makePlainLayer(home, "b");
  const [a, b] = [await loadLayer(home, "a"), await loadLayer(home, "b")];
  await makePlainLayer(home, "top", a);
  await Deno.writeTextFile(a.paths.link, b.short);
  await Deno.writeTextFile(b.paths.link, a.short);
  await recover(home);
  deepEqual((await stackBelow(home, await loadLayer(home, "top"))).diffs, [a.paths.diff]);
  deepEqual([(await loadLayer(home, "a")).short, (await loadLayer(home, "b")).short], [a.short, b.short]);
});

test("a layer whose creation was interrupted is removed", async (home) => {
  await makePlainLayer(home, "whole");
  const staging = home.staging("half");
  await Deno.mkdir(`${staging.diff}/deep`, { recursive: true });
  await Deno.symlink("../half/diff", home.shortLink("A".repeat(26)));
  await recover(home);
  deepEqual(namesIn(home.making), []);
  equal(namesIn(home.links).length, 1);
  deepEqual(namesIn(home.home), [".making", ".removing", "l", "whole"]);
});

test("a layer whose unpacking was interrupted is removed", async (home) => {
  for (const id of ["begun", "failed"]) {
    await makePlainLayer(home, id);
    const { paths } = await loadLayer(home, id);
    await markApplyBegun(paths);
    if (id === "failed") await markApplyFailed(paths, "broken");
    await Deno.writeTextFile(`${paths.diff}/part`, "of a layer");
  }
  equal((await recover(home)).layers.length, 0);
  deepEqual(namesIn(home.home), [".making", ".removing", "l"]);
  deepEqual(namesIn(home.links), []);
});

test("a layer whose unpacking failed stays if dockerd has it, and is named", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "base");
  const { paths } = await loadLayer(home, "base");
  await markApplyBegun(paths);
  await markApplyFailed(paths, "broken");
  await Deno.writeTextFile(`${paths.diff}/part`, "of a layer");
  const { layers, damaged } = await recover(home, { base: { diffId: "sha256:aa" } });
  deepEqual([layers, damaged.map(({ id }) => id)], [[], ["base"]]);
  match(damaged[0]?.reason ?? "", /its ApplyDiff failed \(broken\)$/);
  equal(await Deno.readTextFile(`${paths.diff}/part`), "of a layer");
});

test("a layer whose removal was interrupted is removed at the next start", async (home) => {
  await makePlainLayer(home, "gone");
  await Deno.rename(home.layer("gone").root, `${home.removing}/gone-1`);
  await recover(home);
  deepEqual(namesIn(home.removing), []);
  deepEqual(namesIn(home.links), []);
});

test("a missing or wrong short link is made again", async (home) => {
  await makePlainLayer(home, "a");
  await makePlainLayer(home, "b");
  const [a, b] = [await loadLayer(home, "a"), await loadLayer(home, "b")];
  await Deno.remove(home.shortLink(a.short));
  await Deno.remove(home.shortLink(b.short));
  await Deno.symlink("/etc", home.shortLink(b.short));
  await recover(home);
  equal(await Deno.readLink(home.shortLink(a.short)), "../a/diff");
  equal(await Deno.readLink(home.shortLink(b.short)), "../b/diff");
});

test("a damaged layer does not keep others from being served", async (home) => {
  await makePlainLayer(home, "good");
  await makePlainLayer(home, "bad");
  await Deno.writeTextFile(home.layer("bad").lower, "damaged");
  await Deno.writeTextFile(`${home.home}/a file`, "not ours");
  await Deno.mkdir(`${home.home}/lost+found`);
  equal((await recover(home)).layers.length, 1);
});

test("deleting a layer follows no link out of it", async (home) => {
  const outside = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${outside}/kept`, "");
    await makePlainLayer(home, "a");
    const { paths, short } = await loadLayer(home, "a");
    await Deno.symlink(outside, `${paths.diff}/out`);
    await discardLayer(home, "a", short, new GoneLayers(home));
    deepEqual(namesIn(outside), ["kept"]);
    deepEqual(namesIn(home.home), [".making", ".removing", "l"]);
  } finally {
    await Deno.remove(outside, { recursive: true });
  }
});

const DAMAGES = [undefined, "", '{"opa', "[]", "\0\xff"];

async function damage(path: string, text: string | undefined): Promise<void> {
  if (text === undefined) await Deno.remove(path);
  else await Deno.writeTextFile(path, text);
}

test("the record of a layer that dockerd knows is written again, and its files stay", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "base");
  const { paths } = await loadLayer(home, "base");
  await markApplyBegun(paths);
  await Deno.mkdir(`${paths.diff}/image`);
  await Deno.writeTextFile(`${paths.diff}/image/image.boot`, "of a lazy image");
  const root = { mode: 0o755, uid: 0, gid: 0 };
  const finished = { diffId: "sha256:aa", opaque: false, bootstrap: { path: "image/image.boot", root } } as const;
  await writeFinished(paths, finished);
  for (const text of DAMAGES) {
    await damage(paths.record, text);
    const { layers, damaged } = await recover(home, { base: { diffId: "sha256:aa" } });
    deepEqual([layers.map((layer) => layer.finished), damaged], [[finished], []], `${text}`);
    deepEqual((await loadLayer(home, "base")).apply, { kind: "done" });
  }
});

test("a layer without a record stays if dockerd's records cannot be read, and is named", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "base");
  const { paths } = await loadLayer(home, "base");
  await markApplyBegun(paths);
  const refuse = () => Promise.reject(new Error("no access"));
  const { layers, damaged } = await recoverHome(home, {
    images: { verify: () => Promise.reject() },
    dockerRecords: { layer: refuse, parents: refuse },
  }, new GoneLayers(home));
  deepEqual([layers, damaged], [[], [{ id: "base", reason: "no access" }]]);
  equal(namesIn(home.home).includes("base"), true);
});

test("a list of layers below that is lost is written again as dockerd's records say, lower layers first", async (home) => {
  await using _quiet = await quietLogs();
  const recorded = { base: {}, middle: { parent: "base" }, top: { parent: "middle" }, container: { parent: "top" } };
  const lowers = new Map<string, string[]>();
  let below: Layer | undefined;
  for (const id of Object.keys(recorded)) {
    await makePlainLayer(home, id, below);
    below = await loadLayer(home, id);
    lowers.set(id, [...below.lower]);
  }
  for (const text of [...DAMAGES, `l/${lowers.get("top")?.join(":l/")}:l/AA`]) {
    for (const id of ["middle", "top", "container"]) await damage(home.layer(id).lower, text);
    const { layers, damaged } = await recover(home, recorded);
    deepEqual(damaged, [], `${text}`);
    deepEqual(new Map(layers.map(({ id, lower }) => [id, lower])), lowers, `${text}`);
  }
});

test("a list of layers below that nothing tells of is named, and its layer is never shown without them", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "base");
  await makePlainLayer(home, "middle", await loadLayer(home, "base"));
  await makePlainLayer(home, "top", await loadLayer(home, "middle"));
  const [, bottom] = (await loadLayer(home, "top")).lower;
  for (const text of DAMAGES) {
    await damage(home.layer("top").lower, text);
    deepEqual((await recover(home)).damaged.map(({ id }) => id), ["top"], `${text}`);
    await rejects(loadLayer(home, "top"), /its file lower is/);
  }
  await damage(home.layer("top").lower, `l/${newShortName()}:l/${bottom}`);
  deepEqual((await recover(home)).damaged.map(({ id }) => id), ["top"]);
});

test("a list of layers below that is cut off between two of them is written again, and never shown as it is", async (home) => {
  await using _quiet = await quietLogs();
  await makePlainLayer(home, "base");
  await makePlainLayer(home, "middle", await loadLayer(home, "base"));
  await makePlainLayer(home, "top", await loadLayer(home, "middle"));
  const [first, second] = (await loadLayer(home, "top")).lower;
  await damage(home.layer("top").lower, `l/${first}`);
  await rejects(stackBelow(home, await loadLayer(home, "top")), /its file lower does not list all layers below it/);
  const { layers, damaged } = await recover(home);
  deepEqual(damaged, []);
  deepEqual(layers.find(({ id }) => id === "top")?.lower, [first, second]);
});

test("lists of layers below that were cut off at half their length are written again, lower layers first", async (home) => {
  await using _quiet = await quietLogs();
  // names in the order in which a folder lists them differ from the order of the layers
  for (
    const names of [["a", "b", "c", "d", "e"], ["e", "d", "c", "b", "a"]].map((ids) =>
      ids.map((id) => `${id}${ids[0]}`)
    )
  ) {
    const recorded = Object.fromEntries(
      names.map((id, index) => [id, index === 0 ? {} : { parent: names[index - 1] }]),
    );
    const lowers = new Map<string, string[]>();
    let below: Layer | undefined;
    for (const id of names) {
      await makePlainLayer(home, id, below);
      below = await loadLayer(home, id);
      lowers.set(id, [...below.lower]);
    }
    for (const id of names.slice(1)) {
      const text = await Deno.readTextFile(home.layer(id).lower);
      await damage(home.layer(id).lower, text.slice(0, text.length / 2));
    }
    const { layers, damaged } = await recover(home, recorded as Record<string, DockerLayer>);
    deepEqual(damaged, []);
    for (const [id, lower] of lowers) deepEqual(layers.find((layer) => layer.id === id)?.lower, lower);
  }
});

test("a list of layers below that is another valid one is written again as dockerd's records say", async (home) => {
  await using _quiet = await quietLogs();
  const recorded = { base: {}, middle: { parent: "base" }, top: { parent: "middle" }, container: { parent: "top" } };
  let below: Layer | undefined;
  for (const id of Object.keys(recorded)) {
    await makePlainLayer(home, id, below);
    below = await loadLayer(home, id);
  }
  const whole = (await loadLayer(home, "container")).lower;
  const others = [whole.slice(1), whole.slice(2), [newShortName()]];
  for (const list of others) {
    for (const id of ["top", "container"]) {
      const lower = (await loadLayer(home, id)).lower;
      await damage(home.layer(id).lower, formatLower(id === "top" ? lower.slice(1) : list));
    }
    const found = await damagedLayersIn(home.home, parentsIn(recorded));
    deepEqual(found.map(({ id }) => id).sort(), ["container", "top"], `${list}`);
    const { layers, damaged } = await recover(home, recorded);
    deepEqual(damaged, [], `${list}`);
    deepEqual(layers.find(({ id }) => id === "container")?.lower, whole, `${list}`);
    deepEqual(layers.find(({ id }) => id === "top")?.lower, whole.slice(1), `${list}`);
  }
});

import { deepEqual, equal, rejects } from "node:assert/strict";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { loadLayer } from "./layer.ts";
import { HomePaths } from "./layer_paths.ts";
import { markApplyBegun, markApplyFailed, writeFinished } from "./layer_record.ts";
import { makeLayer } from "./make_layer.ts";
import { discardLayer, recoverHome } from "./recovery.ts";

/** Creating a layer sets the owner of its root. */
const ignore = Deno.uid() !== 0;
if (ignore) console.log("recovery tests skipped: making a layer needs root");

function test(name: string, run: (home: HomePaths) => Promise<void>): void {
  const fn = async () => {
    const folder = await Deno.makeTempDir();
    try {
      const home = new HomePaths(folder);
      await recoverHome(home);
      await run(home);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  Deno.test({ name, ignore, fn });
}

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

test("complete layers stay as they are", async (home) => {
  await makeLayer(home, "base", undefined);
  const base = await loadLayer(home, "base");
  await makeLayer(home, "top", base);
  await markApplyBegun(base.paths);
  await writeFinished(base.paths, { opaque: false });
  const { layers, mounted } = await recoverHome(home);
  equal(layers.length, 2);
  deepEqual(mounted, []);
  deepEqual((await loadLayer(home, "top")).lower, [base.short]);
  equal(await Deno.realPath(home.shortLink(base.short)), base.paths.diff);
});

test("a damaged short name is written again, since layers above refer to it, and is never used as a path", async (home) => {
  await using _quiet = await quietLogs();
  await makeLayer(home, "base", undefined);
  const base = await loadLayer(home, "base");
  await makeLayer(home, "top", base);
  for (const damage of ["", "AAAA", `${base.short}${base.short}`, "../../elsewhere", "\0\xff", undefined]) {
    if (damage === undefined) await Deno.remove(base.paths.link);
    else await Deno.writeTextFile(base.paths.link, damage);
    if (damage !== undefined) await rejects(loadLayer(home, "base"), /its file link is damaged/);
    const { layers } = await recoverHome(home);
    deepEqual(layers.map(({ id, short }) => id === "base" ? short : id).sort(), [base.short, "top"].sort());
    deepEqual((await loadLayer(home, "top")).lower, [base.short]);
    equal(namesIn(home.links).length, 2);
  }
});

test("a layer whose creation was interrupted is removed", async (home) => {
  await makeLayer(home, "whole", undefined);
  const staging = home.staging("half");
  await Deno.mkdir(`${staging.diff}/deep`, { recursive: true });
  await Deno.symlink("../half/diff", home.shortLink("A".repeat(26)));
  await recoverHome(home);
  deepEqual(namesIn(home.making), []);
  equal(namesIn(home.links).length, 1);
  deepEqual(namesIn(home.home), [".making", ".removing", "l", "whole"]);
});

test("a layer whose unpacking was interrupted is removed", async (home) => {
  for (const id of ["begun", "failed"]) {
    await makeLayer(home, id, undefined);
    const { paths } = await loadLayer(home, id);
    await markApplyBegun(paths);
    if (id === "failed") await markApplyFailed(paths, "broken");
    await Deno.writeTextFile(`${paths.diff}/part`, "of a layer");
  }
  equal((await recoverHome(home)).layers.length, 0);
  deepEqual(namesIn(home.home), [".making", ".removing", "l"]);
  deepEqual(namesIn(home.links), []);
});

test("a layer whose removal was interrupted is removed at the next start", async (home) => {
  await makeLayer(home, "gone", undefined);
  await Deno.rename(home.layer("gone").root, `${home.removing}/gone-1`);
  await recoverHome(home);
  deepEqual(namesIn(home.removing), []);
  deepEqual(namesIn(home.links), []);
});

test("a missing or wrong short link is made again", async (home) => {
  await makeLayer(home, "a", undefined);
  await makeLayer(home, "b", undefined);
  const [a, b] = [await loadLayer(home, "a"), await loadLayer(home, "b")];
  await Deno.remove(home.shortLink(a.short));
  await Deno.remove(home.shortLink(b.short));
  await Deno.symlink("/etc", home.shortLink(b.short));
  await recoverHome(home);
  equal(await Deno.readLink(home.shortLink(a.short)), "../a/diff");
  equal(await Deno.readLink(home.shortLink(b.short)), "../b/diff");
});

test("a damaged layer does not keep others from being served", async (home) => {
  await makeLayer(home, "good", undefined);
  await makeLayer(home, "bad", undefined);
  await Deno.writeTextFile(home.layer("bad").lower, "damaged");
  await Deno.writeTextFile(`${home.home}/a file`, "not ours");
  await Deno.mkdir(`${home.home}/lost+found`);
  equal((await recoverHome(home)).layers.length, 1);
});

test("deleting a layer follows no link out of it", async (home) => {
  const outside = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${outside}/kept`, "");
    await makeLayer(home, "a", undefined);
    const { paths, short } = await loadLayer(home, "a");
    await Deno.symlink(outside, `${paths.diff}/out`);
    await discardLayer(home, "a", short);
    deepEqual(namesIn(outside), ["kept"]);
    deepEqual(namesIn(home.home), [".making", ".removing", "l"]);
  } finally {
    await Deno.remove(outside, { recursive: true });
  }
});

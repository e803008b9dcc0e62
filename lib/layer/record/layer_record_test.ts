import { deepEqual, equal, rejects } from "node:assert/strict";
import { HomePaths } from "./layer_paths.ts";
import { applyState, markApplyBegun, markApplyFailed, readFinished, writeFinished } from "./layer_record.ts";
import type { LayerPaths } from "./layer_paths.ts";

async function inLayer(run: (paths: LayerPaths) => Promise<void>): Promise<void> {
  const home = await Deno.makeTempDir();
  try {
    const paths = new HomePaths(home).layer("a");
    await Deno.mkdir(paths.root);
    await run(paths);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

Deno.test("a layer goes from none to begun to done, and never back", () =>
  inLayer(async (paths) => {
    deepEqual(applyState(paths, undefined), { kind: "none" });
    await markApplyBegun(paths);
    deepEqual(applyState(paths, await readFinished(paths)), { kind: "begun" });
    await writeFinished(paths, { diffId: "sha256:00", sizeBytes: 3, opaque: false });
    deepEqual(applyState(paths, await readFinished(paths)), { kind: "done" });
  }));

Deno.test("the reason of a failed apply is kept for later calls", () =>
  inLayer(async (paths) => {
    await markApplyBegun(paths);
    await markApplyFailed(paths, "Cannot read tar");
    deepEqual(applyState(paths, undefined), { kind: "failed", reason: "Cannot read tar" });
    await markApplyFailed(paths, "");
    equal(applyState(paths, undefined).kind, "failed");
  }));

Deno.test("the record of a bootstrap layer is read back as it was written", () =>
  inLayer(async (paths) => {
    const finished = {
      diffId: "sha256:00",
      sizeBytes: 4096,
      opaque: false,
      bootstrap: { path: "image/image.boot" as const, root: { mode: 0o755, uid: 0, gid: 0 } },
    };
    await writeFinished(paths, finished);
    deepEqual(await readFinished(paths), finished);
  }));

Deno.test("a record that this store did not write is corrupt", () =>
  inLayer(async (paths) => {
    for (const text of ["", "{", "[]", '{"sizeBytes":-1}', '{"bootstrap":{"path":"../../etc/passwd"}}']) {
      await Deno.writeTextFile(paths.record, text);
      await rejects(() => readFinished(paths), { name: "NydusGdError", code: "corrupt" });
    }
  }));

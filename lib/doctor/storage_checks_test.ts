import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/machine/doctor_installation.ts";
import { IDLE_STATUS } from "../../tests/support/serve/idle_status.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { storageChecks } from "./storage_checks.ts";

const ignore = Deno.uid() !== 0;
if (ignore) console.log("skipped: not root");

/** The check of the state, while a daemon runs whose root is `root`, in a folder that is passed to it. */
async function stateWhile(root: (folder: string) => string) {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("root"));
  await Deno.symlink(temp.join("root"), temp.join("link"));
  const status = () => Response.json({ ...IDLE_STATUS, root: root(temp.path) });
  await using _daemon = Deno.serve({ path: temp.join("admin.sock"), onListen: () => {} }, status);
  using installation = await installationIn(temp);
  const { verdict, mend } = (await results(storageChecks(installation))).get("state") ?? assert.fail("no check state");
  return [verdict, mend];
}

Deno.test({ name: "a daemon that has its state elsewhere is to be examined there", ignore }, async () => {
  assert.deepEqual(await stateWhile(() => "/srv/gd"), ["warn", "nydus-gd doctor --root /srv/gd"]);
  for (const name of ["root", "link"]) {
    assert.deepEqual(await stateWhile((folder) => `${folder}/${name}`), ["ok", undefined]);
  }
});

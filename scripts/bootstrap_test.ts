/**
 * Which packages scripts/bootstrap.sh considers missing, tested with a separate dpkg database.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";

const SCRIPT = new URL("bootstrap.sh", import.meta.url).pathname;

/** dpkg's database: an installed package, one only named by others, one of which only the configuration is left. */
const STATES = { here: "install ok installed", named: "unknown ok not-installed", left: "deinstall ok config-files" };
const DATABASE = Object.entries(STATES).map(([name, state]) =>
  `Package: ${name}\nStatus: ${state}\nMaintainer: a\nArchitecture: all\nVersion: 1\nDescription: b\n`
).join("\n");

Deno.test("packages that are installed, or whose command exists, are not missing", async () => {
  using temp = TempDir.make();
  for (const folder of ["info", "triggers", "updates"]) await Deno.mkdir(temp.join(folder));
  await Deno.writeTextFile(temp.join("status"), DATABASE);
  const words = ["here", "named", "left", "unknown", "named|here", "named?", "named:sh", "named:nydus-gd-no-command"];
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", 'script=$1; shift; . "$script"; missing_packages "$@"', "sh", SCRIPT, ...words],
    env: { DPKG_ADMINDIR: temp.path },
  }).output();
  assert.deepEqual(new TextDecoder().decode(stdout).trim().split("\n"), [
    "named",
    "left",
    "unknown",
    "named?",
    "named",
  ]);
});

/**
 * Runs the snapshotter suite that tests from containerd's side (containerd's own and more) against this snapshotter.
 *
 * The suite is next to the repository, in Go; without the suite or a compiler the tests are skipped with the reason.
 */
import { commandLine } from "../support/process/command.ts";
import { GoSuite, inShortFolder, restarter } from "../support/docker/go_suite.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";

const suite = await GoSuite.find("snapshotter");

Deno.test({
  name: "the snapshotter passes containerd's suite, with a process for each test",
  ignore: suite.missing.length > 0,
  fn: () =>
    inShortFolder(async (scratch) => {
      const words = commandLine(["--log-level", "error", "serve"]).map((word) => `'${word}'`).join(" ");
      const sockets = '--socket "$SNAP_ROOT/gd" --admin-socket "$SNAP_ROOT/admin" --snapshotter-socket "$SNAP_SOCK"';
      await suite.run(scratch, {
        TMPDIR: scratch, // of the suite, which leaves what a failed test was about
        START_CMD: `exec ${words} --root "$SNAP_ROOT" ${sockets}`,
      });
    }),
});

Deno.test({
  name: "the snapshotter passes containerd's suite behind its metadata store, as one process",
  ignore: suite.missing.length > 0,
  fn: () =>
    inShortFolder(async (scratch, signal) => {
      const socket = `${scratch}/snapshotter.sock`;
      await using driver = await GraphDriverProcess.start(scratch, { args: ["--snapshotter-socket", socket] });
      const restart = async () => {
        await driver.kill();
        await driver.restart();
      };
      await suite.run(scratch, {
        SNAPSHOTTER_SOCK: socket,
        RESTART_CMD: await restarter(scratch, restart, signal),
      });
    }),
});

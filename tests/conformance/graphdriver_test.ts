/**
 * Runs the graph-driver suite that tests from dockerd's side (moby's graphtest and more) against this driver.
 *
 * The suite is next to the repository, in Go; without the suite or a compiler the test is skipped with the reason.
 */
import { GoSuite, inShortFolder, restarter } from "../support/docker/go_suite.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";

const suite = await GoSuite.find("graphdriver");

Deno.test({
  name: "the driver passes moby's graphtest and further checks of what dockerd relies on",
  ignore: suite.missing.length > 0,
  fn: () =>
    inShortFolder(async (scratch, signal) => {
      await using driver = await GraphDriverProcess.start(scratch);
      const restart = async () => {
        await driver.kill();
        await driver.restart();
      };
      await suite.run(scratch, {
        PLUGIN_SOCK: driver.socket,
        PLUGIN_HOME: `${scratch}/h`,
        STRICT: "1",
        RESTART_CMD: await restarter(scratch, restart, signal),
      });
    }),
});

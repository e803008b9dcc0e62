/**
 * `nydus-gd status`: shows the state of the daemon.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { ADMIN_SOCKET, type StatusArgs } from "../actions.ts";
import { examples, outputOption, type Run } from "../command.ts";

/** Creates the command, which passes its arguments to `run`. */
export function statusCommand(run: Run<StatusArgs>): CommandUnknownOpts {
  return new Command("status")
    .summary("Show images, fetched data, the cache and problems")
    .description("Show mounted images, their data paths, fetched data, the cache, and problems.")
    .option("--admin-socket <path>", "admin socket of the daemon", ADMIN_SOCKET)
    .addOption(outputOption())
    .addOption(new Option("--watch", "refresh every second, until Ctrl-C").default(false))
    .addHelpText("after", examples("nydus-gd status", "nydus-gd status -o json", "nydus-gd status --watch"))
    .action((options) => run(options));
}

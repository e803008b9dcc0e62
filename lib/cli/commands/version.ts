/**
 * `nydus-gd version`: shows the versions of this program and its runtime.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { examples, outputOption, type Run } from "../command.ts";

/** `nydus-gd version`. */
export interface VersionArgs {
  readonly output: "text" | "json";
}

/** Creates the command, which passes its arguments to `run`. */
export function versionCommand(run: Run<VersionArgs>): CommandUnknownOpts {
  return new Command("version")
    .summary("Show the versions of nydus-gd and of its runtime")
    .description("Show the version of nydus-gd and of the runtime inside it.")
    .addOption(outputOption())
    .addHelpText("after", examples("nydus-gd version -o json"))
    .action((options) => run(options));
}

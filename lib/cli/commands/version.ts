/**
 * `nydus-gd version`: shows the versions of this program and its runtime.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { examples, type Run } from "../command.ts";

/** `nydus-gd version`. */
export interface VersionArgs {
  readonly output: "text" | "json";
}

/** Creates the command, which passes its arguments to `run`. */
export function versionCommand(run: Run<VersionArgs>): CommandUnknownOpts {
  return new Command("version")
    .description("Show the version of nydus-gd and of the runtime inside it.")
    .addOption(
      new Option("-o, --output <format>", "text, or one JSON document").choices(["text", "json"] as const)
        .default("text" as const),
    )
    .addHelpText("after", examples("nydus-gd version -o json"))
    .action((options) => run(options));
}

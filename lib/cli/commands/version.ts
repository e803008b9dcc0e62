/**
 * `nydus-gd version`: this program and what it runs on.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { examples, type Run } from "../command.ts";

/** `nydus-gd version`. */
export interface VersionArgs {
  readonly output: "text" | "json";
}

/** The command; `run` gets its arguments. */
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

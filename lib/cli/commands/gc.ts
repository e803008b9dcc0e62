/**
 * `nydus-gd gc`: frees cache space.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { GcArgs } from "../actions.ts";
import { examples, outputOption, type Run } from "../command.ts";
import { configFiles, INSTALLATION } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function gcCommand(run: Run<GcArgs>): CommandUnknownOpts {
  const command = new Command("gc")
    .summary("Free cache space")
    .description(
      "Free cache space: blobs that no image uses, the oldest ones beyond the limits, leftovers of killed processes. " +
        "What a container uses is kept.",
    )
    .option("--dry-run", "show what would be freed, without freeing it", false)
    .option("--all", "free the blobs of every image that no container uses", false)
    .addOption(outputOption())
    .option(...INSTALLATION.adminSocket)
    .option(...INSTALLATION.root)
    .option(...INSTALLATION.config)
    .option(...INSTALLATION.settings)
    .addHelpText("after", examples("nydus-gd gc --dry-run", "nydus-gd gc"));
  command.action((options) => run({ ...options, ...configFiles(command, options) }));
  return command;
}

/**
 * `nydus-gd setup`: configures Docker to use this storage driver, and undoes it.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import type { SetupArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";
import { INSTALLATION } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function setupCommand(run: Run<SetupArgs>): CommandUnknownOpts {
  return new Command("setup")
    .description("Install the service, put Docker on it, restart both: shows the plan first, and asks.")
    .option("--undo", "put everything back as it was", false)
    .option("--dry-run", "show the plan, change nothing", false)
    .option("--yes", "do not ask", false)
    .option("--force", "also where running containers or edited files stand in the way", false)
    .addOption(
      new Option("--target <program>", "what images are started by").choices(["docker", "containerd"] as const)
        .default("docker" as const),
    )
    .option("--prefix <dir>", "change the files below this folder, and no service", "/")
    .option(...INSTALLATION.dockerHost)
    .addHelpText(
      "after",
      examples("sudo nydus-gd setup --dry-run", "sudo nydus-gd setup", "sudo nydus-gd setup --undo"),
    )
    .action((options) => run(options));
}

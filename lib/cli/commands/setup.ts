/**
 * `nydus-gd setup`: configures Docker or containerd to use this storage driver, and undoes it.
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
    .summary("Configure Docker or containerd to use nydus-gd")
    .description(
      "Install the service, configure Docker or containerd to use it and restart them. Shows the plan first, and asks.",
    )
    .option("--undo", "restore everything as it was", false)
    .option("--dry-run", "show the plan, change nothing", false)
    .option("--yes", "do not ask", false)
    .option("--force", "proceed despite running containers or edited files", false)
    .addOption(
      new Option("--target <program>", "what to set up; default: containerd for Docker 28 and later, else docker")
        .choices(["docker", "containerd"] as const),
    )
    .option("--prefix <dir>", "write the files below this folder, and touch no service", "/")
    .option(...INSTALLATION.dockerHost)
    .addHelpText(
      "after",
      examples("sudo nydus-gd setup --dry-run", "sudo nydus-gd setup", "sudo nydus-gd setup --undo"),
    )
    .action((options) => run(options));
}

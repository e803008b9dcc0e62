/**
 * `nydus-gd doctor`: diagnoses this installation and suggests fixes.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { DoctorArgs } from "../actions.ts";
import { examples, outputOption, type Run } from "../command.ts";
import { configFiles, INSTALLATION } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function doctorCommand(run: Run<DoctorArgs>): CommandUnknownOpts {
  const command = new Command("doctor")
    .summary("Find out what is wrong here, and how to mend it")
    .description(
      "Check kernel, libraries, storage, configuration, daemon, Docker and registries, and try a real mount.",
    )
    .option(...INSTALLATION.root)
    .option(...INSTALLATION.config)
    .option(...INSTALLATION.settings)
    .option(...INSTALLATION.socket)
    .option(...INSTALLATION.adminSocket)
    .option(...INSTALLATION.dockerHost)
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples("sudo nydus-gd doctor", "sudo nydus-gd doctor -o json | jq '.checks[].mend | values'"),
    );
  command.action((options) => run({ ...options, ...configFiles(command, options) }));
  return command;
}

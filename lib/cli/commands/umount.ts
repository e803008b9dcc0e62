/**
 * `nydus-gd umount`: ends a `nydus-gd mount`.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { UmountArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";

/** Creates the command, which passes its arguments to `run`. */
export function umountCommand(run: Run<UmountArgs>): CommandUnknownOpts {
  return new Command("umount")
    .summary("End such a mount")
    .description("End a mount that `nydus-gd mount` made, and the process that serves it.")
    .argument("<dir>", "where the tree is mounted")
    .addHelpText("after", examples("nydus-gd umount /mnt/image"))
    .action((dir) => run({ dir }));
}

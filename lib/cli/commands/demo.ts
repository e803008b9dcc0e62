/**
 * `nydus-gd demo`: a self-contained demonstration of a lazy start.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { DemoArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";

/** Creates the command, which passes its arguments to `run`. */
export function demoCommand(run: Run<DemoArgs>): CommandUnknownOpts {
  return new Command("demo")
    .summary("Compare a lazy start with an ordinary one")
    .description("Start one image lazily and once the classic way in a private dockerd, and compare the two.")
    .addHelpText("after", examples("sudo nydus-gd demo"))
    .action(() => run({}));
}

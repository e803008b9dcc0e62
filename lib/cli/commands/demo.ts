/**
 * `nydus-gd demo`: the main job, seen on embedded parts.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { DemoArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";

/** The command; `run` gets its arguments. */
export function demoCommand(run: Run<DemoArgs>): CommandUnknownOpts {
  return new Command("demo")
    .description("Start one image lazily and once more the classic way in a private dockerd, and compare the two.")
    .addHelpText("after", examples("sudo nydus-gd demo"))
    .action(() => run({}));
}

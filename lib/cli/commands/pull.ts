/**
 * `nydus-gd pull`: pulls an image into Docker without its data.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import type { PullArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";
import { configFiles, INSTALLATION } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function pullCommand(run: Run<PullArgs>): CommandUnknownOpts {
  const command = new Command("pull")
    .summary("Pull an image into Docker, and leave its data for later")
    .description(
      "Fetch what Docker needs to start an image, and leave its data for later. Ordinary images are pulled whole.",
    )
    .argument("<ref>", "[HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]")
    .option("--platform <platform>", "OS/ARCH[/VARIANT] or ARCH, instead of this machine's")
    .option("--prefetch", "have the daemon fetch the rest as well, in the background", false)
    .option(...INSTALLATION.dockerHost)
    .addOption(
      new Option("-o, --output <format>", "text, one JSON document, or each step as a line of JSON")
        .choices(["text", "json", "jsonl"] as const).default("text" as const),
    )
    .option(...INSTALLATION.adminSocket)
    .option(...INSTALLATION.config)
    .option(...INSTALLATION.settings)
    .addHelpText(
      "after",
      examples(
        "nydus-gd pull registry.example/app:1.0",
        "nydus-gd pull --prefetch --platform linux/arm64 app@sha256:…",
      ),
    );
  command.action((reference, options) => run({ reference, ...options, ...configFiles(command, options) }));
  return command;
}

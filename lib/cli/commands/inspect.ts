/**
 * `nydus-gd inspect`: describes an image or one of its files.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { InspectArgs } from "../actions.ts";
import { examples, outputOption, type Run } from "../command.ts";
import { blobDirOption, configOption, IMAGE_HELP } from "../image_options.ts";
import { INSTALLATION, settingsFile } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function inspectCommand(run: Run<InspectArgs>): CommandUnknownOpts {
  const command = new Command("inspect")
    .summary("Show what an image, or one of its files, is made of")
    .description("Show what an image is made of: layers, blobs, sizes, tree; or the attributes and chunks of one file.")
    .argument("<image>", IMAGE_HELP)
    .argument("[path]", "path in the image")
    .addOption(blobDirOption())
    .addOption(configOption())
    .option(...INSTALLATION.settings)
    .addOption(new Option("--depth <levels>", "levels of the tree to show").argParser(levels).default(1))
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "nydus-gd inspect registry.example/app:1",
        "nydus-gd inspect image.boot /usr/bin/env",
        "nydus-gd inspect --depth 3 -o json oci:./layout",
      ),
    );
  command.action((image, path, options) =>
    run({ image, ...(path === undefined ? {} : { path }), ...options, ...settingsFile(command, options) })
  );
  return command;
}

function levels(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected 0 to 9999");
}

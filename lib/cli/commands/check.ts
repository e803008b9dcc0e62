/**
 * `nydus-gd check`: verifies an image.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { CheckArgs } from "../actions.ts";
import { examples, outputOption, type Run } from "../command.ts";
import { blobDirOption, configOption, IMAGE_HELP } from "../image_options.ts";
import { INSTALLATION, settingsFile } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function checkCommand(run: Run<CheckArgs>): CommandUnknownOpts {
  const command = new Command("check")
    .summary("Verify an image")
    .description(
      "Verify an image without running it. Each problem is printed on its own line, and the exit status is 3.",
    )
    .argument("<image>", IMAGE_HELP)
    .addOption(blobDirOption())
    .addOption(configOption())
    .option(...INSTALLATION.settings)
    .option("--blobs", "fetch every chunk of every blob, and compare it with its digest", false)
    .option(
      "--against <source>",
      "compare with the source it was made from: image reference, docker:NAME, oci:DIR[:TAG], tar:FILE[:NAME] (of " +
        "images or of files), dir:DIR",
    )
    .option(...INSTALLATION.dockerHost)
    .addOption(outputOption())
    .addHelpText(
      "after",
      examples(
        "nydus-gd check image.boot",
        "nydus-gd check --blobs registry.example/app:1",
        "nydus-gd check --against docker:app:1 registry.example/app:1-lazy",
        "nydus-gd check --blobs -o json oci:./layout",
      ),
    );
  command.action((image, options) => run({ image, ...options, ...settingsFile(command, options) }));
  return command;
}

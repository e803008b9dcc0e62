/**
 * `nydus-gd unpack`: writes the whole tree of an image to a folder or a tar.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { UnpackArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";
import { blobDirOption, configOption, IMAGE_HELP } from "../image_options.ts";
import { INSTALLATION, settingsFile } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function unpackCommand(run: Run<UnpackArgs>): CommandUnknownOpts {
  const command = new Command("unpack")
    .summary("Write an image's tree to a folder or a tar")
    .description(
      "Write an image's whole tree to a folder or a tar. Every chunk is verified; a failure leaves nothing behind.",
    )
    .argument("<image>", IMAGE_HELP)
    .argument("<target>", "a new or empty folder, tar:FILE, or - for a tar on standard output")
    .addOption(blobDirOption())
    .addOption(configOption())
    .option(...INSTALLATION.settings)
    .option("--cache-dir <dir>", "chunk cache to use and fill")
    .addHelpText(
      "after",
      examples(
        "nydus-gd unpack registry.example/app:1 ./rootfs",
        "nydus-gd unpack --blob-dir blobs image.boot - | tar t",
      ),
    );
  command.action((image, target, options) => run({ image, target, ...options, ...settingsFile(command, options) }));
  return command;
}

/**
 * `nydus-gd mount`: mounts one image without Docker.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { FS_DRIVERS } from "../../base/setting_choices.ts";
import type { MountArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";
import { blobDirOption, configOption, IMAGE_HELP } from "../image_options.ts";
import { INSTALLATION, settingsFile } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function mountCommand(run: Run<MountArgs>): CommandUnknownOpts {
  const command = new Command("mount")
    .summary("Mount an image without Docker")
    .description("Mount an image's tree at DIR; file data is fetched on first access. Serves until SIGINT or SIGTERM.")
    .argument("<bootstrap>", IMAGE_HELP)
    .argument("<dir>", "an existing folder")
    .addOption(blobDirOption())
    .addOption(configOption())
    .option(...INSTALLATION.settings)
    .option("--cache-dir <dir>", "where fetched chunks are kept")
    .addOption(
      new Option("--fs-driver <name>", "data path, overriding the settings").choices(FS_DRIVERS),
    )
    .option("--background", "return as soon as the mount is usable", false)
    .addHelpText(
      "after",
      examples(
        "nydus-gd mount image.boot /mnt/image --blob-dir ./blobs",
        "nydus-gd mount registry.example/app:1 /mnt/image --background",
      ),
    );
  command.action((bootstrap, dir, options) => run({ bootstrap, dir, ...options, ...settingsFile(command, options) }));
  return command;
}

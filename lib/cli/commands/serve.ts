/**
 * `nydus-gd serve`: runs the daemon that Docker and containerd connect to.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { FS_DRIVERS } from "../../base/setting_choices.ts";
import type { ServeArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";
import { configFiles, INSTALLATION } from "../installation.ts";

/** Creates the command, which passes its arguments to `run`. */
export function serveCommand(run: Run<ServeArgs>): CommandUnknownOpts {
  const command = new Command("serve")
    .summary("Run the daemon that Docker and containerd connect to")
    .description("Run the daemon: graph driver for Docker, snapshotter for containerd, admin socket.")
    .option(...INSTALLATION.root)
    .option(...INSTALLATION.config)
    .option(...INSTALLATION.settings)
    .option(...INSTALLATION.socket)
    .option("--snapshotter-socket <path>", "containerd's proxy snapshotter, also for Docker 28 and later")
    .option(...INSTALLATION.adminSocket)
    .option("--apisock <path>", "nydusd's API for EROFS over fscache: PUT, GET and DELETE /api/v2/blobs")
    .addOption(new Option("--fs-driver <name>", "data path, overriding the settings").choices(FS_DRIVERS))
    .addHelpText("after", examples("nydus-gd serve", "dockerd --experimental -s nydus-gd"));
  command.action((options) => run({ ...options, ...configFiles(command, options) }));
  return command;
}

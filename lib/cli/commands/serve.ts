/**
 * `nydus-gd serve`: the daemon that Docker talks to.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { ADMIN_SOCKET, FS_DRIVERS, type ServeArgs } from "../actions.ts";
import { examples, type Run } from "../command.ts";

/** The command; `run` gets its arguments. */
export function serveCommand(run: Run<ServeArgs>): CommandUnknownOpts {
  const command = new Command("serve")
    .description("Run the daemon: graph driver for Docker, admin socket.")
    .option("--root <dir>", "own state and cache", "/var/lib/nydus-gd")
    .option("--config <file>", "nydusd's own configuration: backend, credentials", "/var/lib/nydus/config.json")
    .option("--settings <file>", "settings of nydus-gd", "/etc/nydus-gd/settings.toml")
    .option("--socket <path>", "graph driver socket", "/run/docker/plugins/nydus-gd.sock")
    .option("--admin-socket <path>", "health, metrics and status", ADMIN_SOCKET)
    .addOption(new Option("--fs-driver <name>", "data path, in place of the settings'").choices(FS_DRIVERS))
    .addHelpText("after", examples("nydus-gd serve", "dockerd --experimental -s nydus-gd"));
  command.action((options) => {
    const named = (name: "config" | "settings") => command.getOptionValueSource(name) !== "default";
    const { config, settings, ...rest } = options;
    return run({
      ...rest,
      config: { path: config, explicit: named("config") },
      settings: { path: settings, explicit: named("settings") },
    });
  });
  return command;
}

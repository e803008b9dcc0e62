/**
 * Options for the paths of an installation, shared by all commands that need them.
 *
 * @module
 */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { ADMIN_SOCKET, type InstallationArgs, type PathOption } from "./actions.ts";

/** Flags, description and default: `command.option(...INSTALLATION.root)`. */
export const INSTALLATION = {
  root: ["--root <dir>", "state and cache of nydus-gd", "/var/lib/nydus-gd"],
  config: ["--config <file>", "nydusd's own configuration: backend, credentials", "/var/lib/nydus/config.json"],
  settings: ["--settings <file>", "settings of nydus-gd", "/etc/nydus-gd/settings.toml"],
  socket: ["--socket <path>", "graph driver socket", "/run/docker/plugins/nydus-gd.sock"],
  adminSocket: ["--admin-socket <path>", "health, metrics and status", ADMIN_SOCKET],
  dockerHost: [
    "--docker-host <url>",
    "Docker's socket; default: docker.host of the settings, DOCKER_HOST, Docker's own",
  ],
} as const;

/** The paths with which the systemd unit starts the daemon. */
export const DEFAULT_INSTALLATION: InstallationArgs = {
  root: INSTALLATION.root[2],
  config: { path: INSTALLATION.config[2], explicit: false },
  settings: { path: INSTALLATION.settings[2], explicit: false },
  socket: INSTALLATION.socket[2],
  adminSocket: INSTALLATION.adminSocket[2],
};

/** Returns the two files, and whether the command line named them. */
export function configFiles(
  command: CommandUnknownOpts,
  { config, settings }: { readonly config: string; readonly settings: string },
): { config: PathOption; settings: PathOption } {
  return { config: pathOption(command, "config", config), ...settingsFile(command, { settings }) };
}

/** Returns the settings file, and whether the command line named it. */
export function settingsFile(
  command: CommandUnknownOpts,
  { settings }: { readonly settings: string },
): { settings: PathOption } {
  return { settings: pathOption(command, "settings", settings) };
}

function pathOption(command: CommandUnknownOpts, name: string, path: string): PathOption {
  return { path, explicit: command.getOptionValueSource(name) !== "default" };
}

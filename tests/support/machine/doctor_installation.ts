/**
 * An installation in a scratch directory, as seen by the checks of `doctor`.
 *
 * @module
 */
import { type Check, type CheckResult, perform } from "../../../lib/doctor/check.ts";
import { Installation } from "../../../lib/doctor/installation.ts";
import { Host } from "../../../lib/setup/host.ts";
import type { TempDir } from "../temp_dir.ts";

/**
 * The installation in `temp`: root/, settings.toml, config.json, gd.sock, admin.sock, docker.sock, containerd.sock, and
 * host/ with the files of the machine.
 */
export function installationIn(temp: TempDir): Promise<Installation> {
  return Installation.take({
    root: temp.join("root"),
    config: { path: temp.join("config.json"), explicit: false },
    settings: { path: temp.join("settings.toml"), explicit: false },
    socket: temp.join("nydus-gd.sock"),
    adminSocket: temp.join("admin.sock"),
    dockerHost: `unix://${temp.join("docker.sock")}`,
    host: new Host(temp.join("host")),
    containerdSocket: temp.join("containerd.sock"),
  });
}

/** Returns the results of checks by name. */
export async function results(checks: readonly Check[]): Promise<Map<string, CheckResult>> {
  const { signal } = new AbortController();
  const found = await Promise.all(checks.map((check) => perform(check, signal)));
  return new Map(found.map((result) => [result.name, result]));
}

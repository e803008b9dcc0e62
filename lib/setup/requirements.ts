/**
 * Rejects Docker installations that cannot use our driver, whatever is changed.
 *
 * @module
 */
import { ignore, NydusGdError } from "../base/errors.ts";
import type { DockerState } from "./docker_state.ts";
import { pluginSupport } from "./docker_version.ts";
import type { Host } from "./host.ts";

/** Docker's Ubuntu snap. */
const SNAP = "/snap/docker";

/** @throws {NydusGdError} "unsupported" with the reason */
export async function requireUsableDocker(host: Host, { unit, version, running }: DockerState): Promise<void> {
  const refuse = (which: string, state: string, hint: string) =>
    new NydusGdError("unsupported", `Cannot set up ${which}: ${state}`, { hint });
  if (pluginSupport(version ?? "").kind === "removed") {
    throw refuse(
      `Docker ${version}`,
      "it no longer supports graph-driver plugins (28 and later)",
      "use Docker 20.10 to 26, as in Debian's docker.io; for later ones `--target containerd` is to come",
    );
  }
  if (running?.info.securityOptions.some((option) => option.startsWith("name=rootless"))) {
    throw refuse(
      `Docker at ${host.docker?.host}`,
      "it is rootless, layers need root on the host",
      "use root's Docker",
    );
  }
  const missing = [Deno.errors.NotFound, Deno.errors.NotADirectory];
  if (!unit.isThere && await ignore(missing, Deno.stat(host.at(SNAP))) !== undefined) {
    const state = "it is a snap, which keeps Docker in file systems of its own";
    throw refuse("Docker", state, "snap remove docker, then apt-get install docker.io");
  }
}

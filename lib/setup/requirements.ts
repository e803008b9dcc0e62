/**
 * Rejects installations that cannot use our driver or snapshotter, whatever is changed.
 *
 * @module
 */
import { ignore, NydusGdError } from "../base/errors.ts";
import { CONTAINERD_SOCKET, type ContainerdState } from "./containerd/containerd_state.ts";
import type { DockerState } from "./docker/docker_state.ts";
import { pluginSupport } from "./docker/docker_version.ts";
import type { Host } from "./host.ts";
import { CONTAINERD_SERVICE, DOCKER_SERVICE } from "./unit_files.ts";
import type { FlaggedUnit } from "./unit_flags.ts";

/** Docker's Ubuntu snap. */
const SNAP = "/snap/docker";

/** @throws {NydusGdError} "unsupported" with the reason */
export async function requireUsableDocker(host: Host, docker: DockerState): Promise<void> {
  const { unit, version } = docker;
  if (pluginSupport(version ?? "").kind === "removed") {
    throw refusal(
      `Docker ${version}`,
      "it no longer supports graph-driver plugins (28 and later)",
      "nydus-gd setup --target containerd",
    );
  }
  requireRoot(host, docker);
  requireStartable(DOCKER_SERVICE, unit);
  const missing = [Deno.errors.NotFound, Deno.errors.NotADirectory];
  if (!unit.isThere && await ignore(missing, Deno.stat(host.at(SNAP))) !== undefined) {
    const state = "it is a snap, which keeps Docker in file systems of its own";
    throw refusal("Docker", state, "snap remove docker, then apt-get install docker.io");
  }
}

/**
 * @param docker a Docker that keeps its images in containerd, if there is one
 * @throws {NydusGdError} "unsupported", "config" with the reason
 */
export function requireUsableContainerd(
  host: Host,
  { unit, isThere }: ContainerdState,
  docker: DockerState | undefined,
): void {
  if (!isThere) throw refusal("containerd", "it is not installed", "apt-get install containerd");
  requireStartable(CONTAINERD_SERVICE, unit);
  if (docker === undefined) return;
  requireRoot(host, docker);
  requireStartable(DOCKER_SERVICE, docker.unit);
  if (!unit.isThere) {
    throw refusal(
      `Docker ${docker.version}`,
      `there is no ${CONTAINERD_SERVICE}, and the containerd that Docker starts itself has no snapshotters of others`,
      "install containerd with its unit: containerd.io of docker.com, or containerd of Debian",
    );
  }
  const { containerd } = docker.unit.flags;
  if (containerd !== undefined && !isMachines(containerd.value)) {
    const state = `${containerd.place} has Docker use the containerd at ${containerd.value}, not the machine's`;
    throw refusal("Docker", state, `remove it from ${containerd.place}`);
  }
}

function requireRoot(host: Host, { running }: DockerState): void {
  if (running?.info.securityOptions.some((option) => option.startsWith("name=rootless"))) {
    const state = "it is rootless, layers need root on the host";
    throw refusal(`Docker at ${host.docker?.host}`, state, "use root's Docker");
  }
}

/** systemd starts a masked unit for nobody, and Docker waits for its containerd until it gives up. */
function requireStartable(service: string, { isMasked }: FlaggedUnit<string>): void {
  if (isMasked) {
    throw refusal(service, "it is masked, so that systemd does not start it", `systemctl unmask ${service}`);
  }
}

function isMachines(address: string): boolean {
  return [CONTAINERD_SOCKET, `/var${CONTAINERD_SOCKET}`].includes(address.replace(/^unix:\/\//, ""));
}

function refusal(which: string, state: string, hint: string): NydusGdError {
  return new NydusGdError("unsupported", `Cannot set up ${which}: ${state}`, { hint });
}

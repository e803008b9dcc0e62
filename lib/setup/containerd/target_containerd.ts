/**
 * The plan for containerd, and for a Docker that keeps its images there: Docker from version 28 on.
 *
 * @module
 */
import { containerdConfig, daemonJson, ownFile } from "../plan_files.ts";
import { CONTAINERD_CONFIG, registrationOf, SNAPSHOTTER } from "./containerd_config.ts";
import { criProblem } from "./containerd_cri.ts";
import { effectiveConfig, lookAtContainerd } from "./containerd_state.ts";
import { parseDaemonJson, usesContainerdStore, wantedSnapshotterMembers } from "../docker/daemon_json.ts";
import { daemonJsonPath } from "../docker/docker_flags.ts";
import { pluginSupport } from "../docker/docker_version.ts";
import { readFileState, textFile } from "../file_state.ts";
import { requireUsableContainerd } from "../requirements.ts";
import type { TargetPlan, TargetSource } from "../target_plan.ts";
import { CONTAINERD_DROP_IN_PATH, CONTAINERD_SERVICE, containerdDropIn } from "../unit_files.ts";

/** @throws {NydusGdError} "config", "unsupported" for conflicts; "busy" for an edited drop-in */
export async function planContainerd(source: TargetSource): Promise<TargetPlan> {
  const { host, docker } = source;
  const containerd = await lookAtContainerd(host);
  const isForDocker = await keepsImagesInContainerd(source);
  requireUsableContainerd(host, containerd, isForDocker ? docker : undefined);
  const path = containerd.unit.flags.configFile?.value ?? CONTAINERD_CONFIG;
  const { change, files } = await containerdConfig(source, path);
  const driver = registrationOf(files)?.name ?? SNAPSHOTTER;
  const json = daemonJsonPath(docker.unit);
  const notes: string[] = [];
  if (!containerd.unit.isThere) {
    notes.push(
      `There is no ${CONTAINERD_SERVICE} here: start nydus-gd.service before containerd, however you start that.`,
    );
  }
  if (!isForDocker && docker.version !== undefined) {
    notes.push(
      `Docker ${docker.version} keeps its own storage drivers: \`nydus-gd setup --target docker\` is for them, this is ` +
        "for the other clients of containerd.",
    );
  }
  const cri = await criProblem(files, () => effectiveConfig(host, containerd, path));
  if (cri !== undefined) notes.push(`Kubernetes: ${cri.state}. What it needs: ${cri.remedy}.`);
  return {
    driver,
    changes: [
      ...containerd.unit.isThere || !host.isLive
        ? [await ownFile(source, CONTAINERD_DROP_IN_PATH, textFile(containerdDropIn()))]
        : [],
      change,
      ...isForDocker
        ? [await daemonJson(source, json, (text) => wantedSnapshotterMembers(text, json, docker.unit, driver))]
        : [],
    ],
    containerdReads: [path],
    ...(isForDocker ? { dockerReads: [json] } : {}),
    notes,
  };
}

/** Whether there is a Docker whose images are in containerd: it has nothing else, or is told so. */
async function keepsImagesInContainerd({ host, docker: { unit, version } }: TargetSource): Promise<boolean> {
  if (pluginSupport(version ?? "").kind === "removed") return true;
  if (version === undefined && !unit.isThere) return false;
  const path = daemonJsonPath(unit);
  return usesContainerdStore(parseDaemonJson(await readFileState(host.at(path), { follow: true }), path));
}

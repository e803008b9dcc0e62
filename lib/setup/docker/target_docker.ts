/**
 * The plan for Docker's graph drivers, which Docker has up to version 27.
 *
 * @module
 */
import { wantedMembers } from "./daemon_json.ts";
import { daemonJsonPath } from "./docker_flags.ts";
import type { DockerState } from "./docker_state.ts";
import { pluginSupport } from "./docker_version.ts";
import { textFile } from "../file_state.ts";
import { daemonJson, ownFile } from "../plan_files.ts";
import { requireUsableDocker } from "../requirements.ts";
import { DRIVER, type TargetPlan, type TargetSource } from "../target_plan.ts";
import { DOCKER_SERVICE, dockerDropIn, DROP_IN_PATH } from "../unit_files.ts";

/** @throws {NydusGdError} "config", "unsupported" for conflicts; "busy" for an edited drop-in */
export async function planDocker(source: TargetSource): Promise<TargetPlan> {
  const { host, docker } = source;
  await requireUsableDocker(host, docker);
  const path = daemonJsonPath(docker.unit);
  return {
    driver: DRIVER,
    changes: [
      ...docker.unit.isThere || !host.isLive
        ? [await ownFile(source, DROP_IN_PATH, textFile(dockerDropIn({ needsVariable: needsVariable(docker) })))]
        : [],
      await daemonJson(source, path, (json) => wantedMembers(json, path, docker.unit, DRIVER)),
    ],
    dockerReads: [DROP_IN_PATH, path],
    notes: notesOn(docker),
  };
}

function needsVariable({ version }: DockerState): boolean {
  // For an unknown version of Docker as well: the variable does no harm to others.
  return version === undefined || pluginSupport(version).kind === "environment";
}

function notesOn({ unit, version }: DockerState): string[] {
  const notes: string[] = [];
  if (!unit.isThere) {
    notes.push(`There is no ${DOCKER_SERVICE} here: start nydus-gd.service before Docker, however you start that.`);
  }
  if (version === undefined) {
    notes.push(
      "No dockerd was found that reports its version: 20.10 to 27 work so, later ones by --target containerd.",
    );
  }
  return notes;
}

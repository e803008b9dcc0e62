/**
 * Plans what `nydus-gd setup` will do, before anything is changed.
 *
 * ```
 * machine, record ──► Plan { changes, services, notes } ──► shown, confirmed ──► apply.ts
 *          └─► docker/target_docker.ts or containerd/target_containerd.ts
 * ```
 *
 * @module
 */
import { countText } from "../base/count_text.ts";
import { NydusGdError } from "../base/errors.ts";
import type { DockerInfo } from "../image/docker/engine_responses.ts";
import { SNAPSHOTTER_SOCKET } from "./containerd/containerd_config.ts";
import { snapshotterState } from "./containerd/containerd_state.ts";
import { type DockerState, lookAtDocker } from "./docker/docker_state.ts";
import { type FileChange, isChange } from "./file_change.ts";
import { textFile } from "./file_state.ts";
import type { Host } from "./host.ts";
import { ownFile } from "./plan_files.ts";
import { SetupRecord } from "./record.ts";
import { hasSystemd, isStarted, showUnit } from "./systemd.ts";
import { planContainerd } from "./containerd/target_containerd.ts";
import { planDocker } from "./docker/target_docker.ts";
import { type SetupTarget, targetFor, type TargetPlan } from "./target_plan.ts";
import {
  CONTAINERD_DROP_IN_PATH,
  CONTAINERD_SERVICE,
  DOCKER_SERVICE,
  DROP_IN_PATH,
  ENABLED_PATH,
  SERVICE,
  serviceUnit,
  UNIT_PATH,
} from "./unit_files.ts";

/** Input of a setup plan. */
export interface SetupOptions {
  readonly host: Host;
  /** Program and leading arguments that start this program. */
  readonly command: readonly string[];
  /** Carry out destructive changes that would otherwise be refused, and report them. */
  readonly force: boolean;
  /** Default: containerd for a Docker without graph drivers, else docker. */
  readonly target?: SetupTarget | undefined;
}

/** Everything that setup will do. */
export interface Plan {
  readonly changes: readonly FileChange[];
  /** Arguments of systemctl, in order. */
  readonly services: readonly (readonly string[])[];
  /** Complete sentences for the user. */
  readonly notes: readonly string[];
}

/** Whether nothing is left to do. */
export function isEmpty({ changes, services }: Plan): boolean {
  return changes.length === 0 && services.length === 0;
}

/**
 * @throws {NydusGdError} "config", "unsupported" for conflicts; "busy" for running containers that would be lost and
 * for our files that were edited, unless forced
 */
export async function planSetup(options: SetupOptions, signal: AbortSignal): Promise<Plan> {
  const { host, force } = options;
  const docker = await lookAtDocker(host, signal);
  const record = await SetupRecord.open(host);
  const source = { host, record, force, docker };
  const target = options.target ?? targetFor(docker);
  const part = await (target === "docker" ? planDocker(source) : planContainerd(source));
  const servesContainerd = target === "containerd" || record.files.some(({ block }) => block !== undefined);
  const unit = serviceUnit(options.command, servesContainerd ? SNAPSHOTTER_SOCKET : undefined);
  const files = [
    await ownFile(source, UNIT_PATH, textFile(unit)),
    await ownFile(source, ENABLED_PATH, { kind: "link", target: UNIT_PATH }),
    ...part.changes,
  ];
  const changes = files.filter(isChange);
  const isBooted = host.isLive && await hasSystemd();
  const services = isBooted ? await servicesOf(changes, part, docker) : [];
  const restartsDocker = services.some((words) => words.includes(DOCKER_SERVICE));
  return {
    changes,
    services,
    notes: [
      ...notesOn(options, part, docker),
      ...host.isLive && !isBooted ? [noSystemd(target)] : [],
      ...restartsDocker ? restartWarnings(docker, { driver: part.driver, force }) : [],
    ],
  };
}

function noSystemd(target: SetupTarget): string {
  const users = target === "docker" ? "Docker" : "containerd";
  return `systemd is not running here: start nydus-gd serve and ${users} yourself.`;
}

/** Arguments for systemctl. */
async function servicesOf(
  changes: readonly FileChange[],
  { driver, dockerReads, containerdReads }: TargetPlan,
  docker: DockerState,
): Promise<(readonly string[])[]> {
  const isChanged = (...paths: readonly string[]) => changes.some(({ path }) => paths.includes(path));
  const daemon = await showUnit(SERVICE);
  const usesOurs = docker.running?.info.driver === driver;
  const restartsContainerd = containerdReads !== undefined && await isStarted(CONTAINERD_SERVICE) &&
    (isChanged(...containerdReads) || await snapshotterState(driver) === "none");
  const restartsDocker = dockerReads !== undefined && docker.unit.isThere && await isStarted(DOCKER_SERVICE) &&
    (isChanged(...dockerReads) || !usesOurs);
  return [
    ...isChanged(UNIT_PATH, ENABLED_PATH, DROP_IN_PATH, CONTAINERD_DROP_IN_PATH) ? [["daemon-reload"]] : [],
    ...isChanged(UNIT_PATH) || daemon.active !== "active" ? [["restart", SERVICE]] : [],
    ...restartsContainerd ? [["restart", CONTAINERD_SERVICE]] : [],
    ...restartsDocker ? [["restart", DOCKER_SERVICE]] : [],
  ];
}

function notesOn({ host, command }: SetupOptions, part: TargetPlan, { running }: DockerState): string[] {
  const notes: string[] = [];
  const [program = ""] = command;
  if (!/^\/(usr|opt|bin|sbin)\//.test(program)) {
    notes.push(`The unit starts ${program} from where it is now: keep it there, or install it first.`);
  }
  notes.push(...part.notes);
  if (part.dockerReads === undefined) return notes;
  const info = running?.info;
  if (host.isLive && info === undefined) notes.push("Docker does not answer: its containers and images are unknown.");
  if (info !== undefined && info.driver !== part.driver) notes.push(...whatDockerHides(info));
  return notes;
}

/** What is not to be seen while Docker is on our driver. Images in containerd are, whatever snapshotter unpacked them. */
function whatDockerHides({ driver, dataRoot, imageCount, usesContainerdStore }: DockerInfo): string[] {
  if (imageCount === 0) return [];
  const undo = "`nydus-gd setup --undo`";
  if (usesContainerdStore) {
    return [
      `Docker keeps its images in containerd, and unpacks them again when they are run. All containers of ${driver} stay, ` +
      `but Docker does not show them meanwhile: ${undo} brings them back.`,
    ];
  }
  return [
    `${countText(imageCount, "image")} and all containers of ${driver} stay in ${dataRoot}, but Docker does not show ` +
    `them meanwhile: ${undo} brings them back.`,
  ];
}

/** Effects of a Docker restart on running containers. @throws {NydusGdError} "busy" */
function restartWarnings(
  { running }: DockerState,
  { driver, force }: { readonly driver: string; readonly force: boolean },
): string[] {
  if (running === undefined || running.containers.length === 0) return [];
  const { info, containers } = running;
  const names = containers.map(({ name }) => name).join(", ");
  const count = countText(containers.length, "running container");
  if (info.driver === driver) {
    return [
      info.hasLiveRestore
        ? `Kept running while Docker restarts (live-restore): ${names}.`
        : `Restarting Docker stops ${count}: ${names}.`,
    ];
  }
  if (!info.hasLiveRestore) {
    return [
      `Restarting Docker stops ${count}: ${names}. What they hold stays on disk with ${info.driver}.`,
    ];
  }
  if (force) return [`Kept running without Docker, which no longer sees them (live-restore): ${names}.`];
  const state = `live-restore keeps ${count} of ${info.driver}, which it would no longer see`;
  throw new NydusGdError("busy", `Cannot switch Docker to another storage driver: ${state}: ${names}`, {
    hint: `docker stop ${containers[0]?.name ?? ""} …, or --force`,
  });
}

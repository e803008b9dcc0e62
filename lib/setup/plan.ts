/**
 * Plans what `nydus-gd setup` will do, before anything is changed.
 *
 * ```
 * machine, record ──► Plan { changes, services, notes } ──► shown, confirmed ──► apply.ts
 * ```
 *
 * @module
 */
import { countText } from "../base/count_text.ts";
import { NydusGdError } from "../base/errors.ts";
import { DAEMON_JSON, parseDaemonJson, wantedMembers } from "./daemon_json.ts";
import { type DockerState, lookAtDocker } from "./docker_state.ts";
import { pluginSupport } from "./docker_version.ts";
import { type FileChange, isChange } from "./file_change.ts";
import { type FileState, readFileState, textFile } from "./file_state.ts";
import type { Host } from "./host.ts";
import { changesOf, revertChanges } from "./member_changes.ts";
import { isEdited, SetupRecord } from "./record.ts";
import { requireUsableDocker } from "./requirements.ts";
import { hasSystemd, showUnit } from "./systemd.ts";
import {
  DOCKER_SERVICE,
  dockerDropIn,
  DROP_IN_PATH,
  ENABLED_PATH,
  SERVICE,
  serviceUnit,
  UNIT_PATH,
} from "./unit_files.ts";

/** Name of our storage driver and of its socket. */
export const DRIVER = "nydus-gd";

/** Input of a setup plan. */
export interface SetupOptions {
  readonly host: Host;
  /** Program and leading arguments that start this program. */
  readonly command: readonly string[];
  /** Carry out destructive changes that would otherwise be refused, and report them. */
  readonly force: boolean;
}

/** What changes of files are planned from. */
export interface PlanSource {
  readonly host: Host;
  readonly record: SetupRecord;
  /** Whether edited files of ours are replaced. */
  readonly force: boolean;
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
  await requireUsableDocker(host, docker);
  const record = await SetupRecord.open(host);
  const own = (path: string, after: FileState) => ownFile({ host, record, force }, path, after);
  const files = [
    await own(UNIT_PATH, textFile(serviceUnit(options.command))),
    await own(ENABLED_PATH, { kind: "link", target: UNIT_PATH }),
    ...docker.unit.isThere || !host.isLive
      ? [await own(DROP_IN_PATH, textFile(dockerDropIn({ needsVariable: needsVariable(docker) })))]
      : [],
    await daemonJson(host, record, docker),
  ];
  const changes = files.filter(isChange);
  const isBooted = host.isLive && await hasSystemd();
  const services = isBooted ? await servicesOf(changes, docker) : [];
  const restartsDocker = services.some((words) => words.includes(DOCKER_SERVICE));
  return {
    changes,
    services,
    notes: [
      ...notesOn(options, docker),
      ...host.isLive && !isBooted ? ["systemd is not running here: start nydus-gd serve and Docker yourself."] : [],
      ...restartsDocker ? restartWarnings(docker, force) : [],
    ],
  };
}

function needsVariable({ version }: DockerState): boolean {
  // For an unknown version of Docker as well: the variable does no harm to others.
  return version === undefined || pluginSupport(version).kind === "environment";
}

/** Plans a file that is entirely ours. */
async function ownFile({ host, record, force }: PlanSource, path: string, after: FileState): Promise<FileChange> {
  const current = await readFileState(host.at(path));
  const recorded = record.of(path);
  const before = recorded === undefined ? current : await record.before(recorded);
  const change = { path, current, after, follow: false, before };
  if (isChange(change) && recorded !== undefined && isEdited(recorded, current) && !force) throw edited(path);
  return change;
}

/** Error for a file that only setup writes but that was edited. */
export function edited(path: string): NydusGdError {
  return new NydusGdError("busy", `Cannot replace ${path}: it was edited since setup wrote it`, {
    hint: "--force keeps a copy of it; put changes into a drop-in (systemctl edit)",
  });
}

async function daemonJson(host: Host, record: SetupRecord, docker: DockerState): Promise<FileChange> {
  const path = docker.unit.flags.configFile?.value ?? DAEMON_JSON;
  const current = await readFileState(host.at(path), { follow: true });
  const json = parseDaemonJson(current, path);
  const wanted = wantedMembers(json, path, docker.unit, DRIVER);
  let after = json;
  for (const [name, value] of wanted) {
    if (JSON.stringify(after.get(name)) !== JSON.stringify(value)) after = after.with(name, value);
  }
  const before = await beforeOurs(record, path, current);
  const originally = parseDaemonJson(before, path);
  return {
    path,
    current,
    after: current.kind === "file" ? { ...current, bytes: new TextEncoder().encode(after.text) } : textFile(after.text),
    follow: true,
    before,
    members: changesOf(originally, wanted),
  };
}

/** The file as it would be without us: its original state, or its edited state without our members. */
async function beforeOurs(record: SetupRecord, path: string, current: FileState): Promise<FileState> {
  const recorded = record.of(path);
  if (recorded === undefined || current.kind !== "file") return current;
  if (!isEdited(recorded, current)) return await record.before(recorded);
  const { text } = revertChanges(parseDaemonJson(current, path), recorded.members ?? []);
  return { ...current, bytes: new TextEncoder().encode(text) };
}

/** Arguments for systemctl. */
async function servicesOf(changes: readonly FileChange[], docker: DockerState): Promise<(readonly string[])[]> {
  const isChanged = (...paths: string[]) => changes.some(({ path }) => paths.includes(path));
  const daemon = await showUnit(SERVICE);
  const dockerChanges = changes.filter(({ path }) => path !== UNIT_PATH && path !== ENABLED_PATH).length > 0;
  const usesOurs = docker.running?.info.driver === DRIVER;
  const runs = docker.unit.isThere && (await showUnit(DOCKER_SERVICE)).active !== "inactive";
  return [
    ...isChanged(UNIT_PATH, ENABLED_PATH, DROP_IN_PATH) ? [["daemon-reload"]] : [],
    ...isChanged(UNIT_PATH) || daemon.active !== "active" ? [["restart", SERVICE]] : [],
    ...runs && (dockerChanges || !usesOurs) ? [["restart", DOCKER_SERVICE]] : [],
  ];
}

function notesOn({ host, command }: SetupOptions, { unit, version, running }: DockerState): string[] {
  const notes: string[] = [];
  const [program = ""] = command;
  if (!/^\/(usr|opt|bin|sbin)\//.test(program)) {
    notes.push(`The unit starts ${program} from where it is now: keep it there, or install it first.`);
  }
  if (!unit.isThere) {
    notes.push(`There is no ${DOCKER_SERVICE} here: start nydus-gd.service before Docker, however you start that.`);
  }
  if (version === undefined) {
    notes.push("No dockerd was found that reports its version: 20.10 to 27 work, 28 does not.");
  }
  const info = running?.info;
  if (host.isLive && info === undefined) notes.push("Docker does not answer: its containers and images are unknown.");
  if (info !== undefined && info.driver !== DRIVER && info.imageCount > 0) {
    notes.push(
      `${
        countText(info.imageCount, "image")
      } and all containers of ${info.driver} stay in ${info.dataRoot}, but Docker does not ` +
        "show them meanwhile: `nydus-gd setup --undo` brings them back.",
    );
  }
  if ((info?.securityOptions ?? []).some((option) => option.startsWith("name=userns"))) {
    notes.push("userns-remap is on: ordinary images will work, lazy ones will be refused.");
  }
  return notes;
}

/** Effects of a Docker restart on running containers. @throws {NydusGdError} "busy" */
function restartWarnings({ running }: DockerState, force: boolean): string[] {
  if (running === undefined || running.containers.length === 0) return [];
  const { info, containers } = running;
  const names = containers.map(({ name }) => name).join(", ");
  const count = countText(containers.length, "running container");
  if (info.driver === DRIVER) {
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

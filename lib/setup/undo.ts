/**
 * `nydus-gd setup --undo`: restores everything that setup has changed, byte for byte.
 *
 * Later edits of a file are preserved: our members are removed from daemon.json, our table from containerd's
 * configuration, and nothing else is touched. An edited file that is entirely ours is refused or, with force, removed
 * after a copy was made.
 *
 * ```
 * their files, drop-ins ──► containerd, Docker restart ──► our unit is stopped, removed ──► the record is removed
 * ```
 *
 * @module
 */
import { readMountinfo } from "../../ffi/mountinfo.ts";
import { throwIfAborted } from "../base/abort.ts";
import { countText } from "../base/count_text.ts";
import { NydusGdError } from "../base/errors.ts";
import { ImageMounts } from "../mount/image_mounts.ts";
import { fanotifyKeeperPath, fscacheKeeperPath, Keeper, keeperPath } from "../mount/keeper/keeper.ts";
import { lookAtDocker } from "./docker/docker_state.ts";
import { type FileChange, isChange } from "./file_change.ts";
import { readFileState, removeTemporary, writeFileState } from "./file_state.ts";
import { DAEMON_ROOT, type Host } from "./host.ts";
import type { Plan } from "./plan.ts";
import { edited, type PlanSource } from "./plan_files.ts";
import { isEdited, isShared, type RecordedFile, SetupRecord } from "./record.ts";
import { withoutOurs, withText } from "./shared_file.ts";
import { eachService, keepIfEdited, type OnStep, type SetupRun } from "./setup_run.ts";
import { hasSystemd, isStarted, runStep, showUnit, systemctl } from "./systemd.ts";
import { DRIVER } from "./target_plan.ts";
import { CONTAINERD_SERVICE, DOCKER_SERVICE, DROP_IN_PATH, SERVICE, UNIT_DIR } from "./unit_files.ts";

/** Input of an undo plan. */
export interface UndoOptions {
  readonly host: Host;
  readonly force: boolean;
}

/** A {@link Plan} in which our own unit is handled after Docker has restarted. */
export interface UndoPlan extends Plan {
  /** Changes to our own files, which are made last. */
  readonly last: readonly FileChange[];
  /** Whether there is anything on record. */
  readonly isRecorded: boolean;
}

/** @throws {NydusGdError} "busy" for containers that would be lost and for edited files, unless forced */
export async function planUndo({ host, force }: UndoOptions, signal: AbortSignal): Promise<UndoPlan> {
  const record = await SetupRecord.open(host);
  const notes: string[] = [];
  const changes: FileChange[] = [];
  for (const recorded of record.files.toReversed()) {
    const change = await undoOf(recorded, { host, record, force }, notes);
    if (isChange(change)) changes.push(change);
  }
  const isOwn = ({ path }: FileChange) => path.startsWith(`${UNIT_DIR}/`) && path.endsWith(SERVICE);
  const services: (readonly string[])[] = [];
  if (host.isLive && record.files.some(({ block }) => block !== undefined)) notes.push(...lostByContainerd({ force }));
  if (host.isLive && record.files.length > 0 && await hasSystemd()) {
    const { running } = await lookAtDocker(host, signal);
    const driver = driverIn(record);
    const isUsed = running?.info.driver === driver;
    if (running !== undefined && isUsed) notes.push(...lostContainers({ ...running, driver, force }));
    if (changes.some((change) => !isOwn(change))) services.push(["daemon-reload"]);
    const isRead = (by: (file: RecordedFile) => boolean) =>
      changes.some(({ path }) => record.files.some((file) => file.path === path && by(file)));
    if (isRead(({ block }) => block !== undefined) && await isStarted(CONTAINERD_SERVICE)) {
      services.push(["restart", CONTAINERD_SERVICE]);
    }
    // If Docker runs on another driver, it has not read our settings, so its containers need not stop.
    const isConcerned = running === undefined
      ? isRead(({ path, members }) => members !== undefined || path === DROP_IN_PATH) && await isStarted(DOCKER_SERVICE)
      : isUsed;
    if (isConcerned) services.push(["restart", DOCKER_SERVICE]);
    if ((await showUnit(SERVICE)).load !== "not-found") services.push(["stop", SERVICE]);
  }
  notes.push(...whatStays(record));
  return {
    changes: changes.filter((change) => !isOwn(change)),
    last: changes.filter(isOwn),
    services,
    notes,
    isRecorded: record.files.length > 0,
  };
}

function whatStays({ files }: SetupRecord): string[] {
  if (files.length === 0) return [];
  if (!files.some(({ block }) => block !== undefined)) {
    return [`Cache and state stay in ${DAEMON_ROOT}, layers of lazy images in Docker's data-root.`];
  }
  return [
    `Cache, state and snapshots stay in ${DAEMON_ROOT}, where the next setup finds them. Images that were pulled lazily lack ` +
    "their data without it: remove those, and pull them again in an ordinary form.",
  ];
}

/** Restores everything. Can be interrupted at any point and run again. */
export async function undo(
  host: Host,
  plan: UndoPlan,
  progress: OnStep,
  signal: AbortSignal,
): Promise<void> {
  const record = await SetupRecord.open(host);
  const run: SetupRun = { host, record, progress, signal };
  await putBack(run, plan.changes);
  await eachService(run, plan.services, runStep);
  if (host.isLive) await giveUpImages();
  await putBack(run, plan.last);
  if (plan.last.length > 0 && host.isLive && await hasSystemd()) await systemctl("daemon-reload");
  for (const file of record.files) await removeTemporary(host.at(file.path), { follow: isShared(file) });
  await record.close();
}

/** Abandons the images held by keepers, because no daemon will take them over. */
async function giveUpImages(): Promise<void> {
  const stateDir = `${DAEMON_ROOT}/state`;
  const keepers = await Promise.all(
    [keeperPath, fanotifyKeeperPath, fscacheKeeperPath].map((path) => Keeper.pidOf(path(stateDir))),
  );
  if (keepers.every((pid) => pid === undefined)) return;
  await ImageMounts.abandon({ mountpoint: `${DAEMON_ROOT}/images`, erofsDir: `${DAEMON_ROOT}/erofs`, stateDir });
}

async function putBack(run: SetupRun, changes: readonly FileChange[]): Promise<void> {
  const { host, progress, signal } = run;
  for (const change of changes) {
    throwIfAborted(signal);
    await keepIfEdited(run, change);
    const { path, after, follow } = change;
    progress(after.kind === "none" ? `remove ${path}` : `put ${path} back`);
    await writeFileState(host.at(path), after, { follow });
  }
}

async function undoOf(
  recorded: RecordedFile,
  { host, record, force }: PlanSource,
  notes: string[],
): Promise<FileChange> {
  const { path } = recorded;
  const follow = isShared(recorded);
  const current = await readFileState(host.at(path), { follow });
  const before = await record.before(recorded);
  const change = { path, current, before, follow, after: before };
  if (current.kind === "none") return { ...change, after: current }; // it was deleted: leave it so
  if (!isEdited(recorded, current)) return change;
  if (!follow) {
    if (!force) throw edited(path);
    return change;
  }
  const { text, kept } = withoutOurs(recorded, current);
  notes.push(`${path} was edited since: ours is removed, the rest is kept.`);
  if (kept.length > 0) notes.push(`${path}: ${kept.join(", ")} were changed since, and are left as they are.`);
  return { ...change, after: current.kind === "file" ? withText(current, text) : current };
}

/** Name by which Docker was told to use us: that of a snapshotter can be chosen. */
function driverIn({ files }: SetupRecord): string {
  const members = files.flatMap(({ members = [] }) => members);
  const driver = members.find(({ name }) => name === "storage-driver")?.ours;
  return typeof driver === "string" ? driver : DRIVER;
}

/** Containers on our driver, which Docker will lose. @throws {NydusGdError} "busy" */
function lostContainers(
  { containers, driver, force }: {
    readonly containers: readonly { readonly name: string }[];
    readonly driver: string;
    readonly force: boolean;
  },
): string[] {
  if (containers.length === 0) return [];
  const names = containers.map(({ name }) => name).join(", ");
  const count = countText(containers.length, "running container");
  if (force) return [`Docker loses ${count} on ${driver}: ${names}.`];
  throw new NydusGdError(
    "busy",
    `Cannot undo setup: Docker would lose ${count} on ${driver}: ${names}`,
    { hint: "docker stop them first, or --force" },
  );
}

/** Root file systems of running containers of containerd: "/run/containerd/…/<namespace>/<id>/rootfs". */
const TASK_ROOT = /\/io\.containerd\.runtime\.v2\.task\/([^/]+)\/([^/]+)\/rootfs$/;

/** Containers of containerd's other clients that stand on our snapshots. @throws {NydusGdError} "busy" */
function lostByContainerd({ force }: { readonly force: boolean }): string[] {
  const names = readMountinfo().flatMap(({ mountPoint, root, superOptions }) => {
    const task = TASK_ROOT.exec(mountPoint);
    return task !== null && `${root},${superOptions}`.includes(`${DAEMON_ROOT}/`) ? [`${task[1]}/${task[2]}`] : [];
  });
  if (names.length === 0) return [];
  const count = countText(names.length, "running container");
  if (force) return [`containerd loses ${count} on ${DRIVER}: ${names.join(", ")}.`];
  throw new NydusGdError(
    "busy",
    `Cannot undo setup: containerd would lose ${count} on ${DRIVER}: ${names.join(", ")}`,
    { hint: "stop them first, or --force" },
  );
}

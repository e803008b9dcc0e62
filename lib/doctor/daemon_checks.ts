/**
 * Checks the daemon: its unit, sockets and health, and the process that keeps the mounts of lazy images.
 *
 * @module
 */
import { mountAt, mountsBelow, readMountinfo } from "../../ffi/mountinfo.ts";
import * as v from "valibot";
import { ignore } from "../base/errors.ts";
import { lowLimits } from "../base/process_limits.ts";
import { getOverUnix, unixErrorCode } from "../base/unix_http.ts";
import { VERSION } from "../base/version.ts";
import { isOurs, isServed } from "../image/mount/mount_state.ts";
import { StatusDocument } from "../image/lazy/report/status_document.ts";
import { EROFS_TYPE } from "../mount/erofs/erofs_mount.ts";
import { FUSE_TYPE } from "../mount/fuse/fuse_mount.ts";
import { fanotifyKeeperPath, fscacheKeeperPath, Keeper, keeperPath } from "../mount/keeper/keeper.ts";
import { SERVICE } from "../setup/unit_files.ts";
import { lastLoggedError } from "../setup/journal.ts";
import { hasSystemd, showUnit, type UnitState } from "../setup/systemd.ts";
import { type Check, fail, ok, type Outcome, skipped, warn } from "./check.ts";
import type { Installation } from "./installation.ts";

const GROUP = "daemon";
const RESTART = `systemctl restart ${SERVICE}`;
const JOURNAL = `journalctl -u ${SERVICE} -n 50`;
/** A service that does not start is tried several times in this span; the last run may just have begun. */
const RECENTLY = "-1min";
const NEEDS_ROOT = "sudo nydus-gd doctor";

const Health = v.object({ reasons: v.optional(v.array(v.string()), []) });

/** Checks of unit, sockets, health, keeper and manual mounts. */
export function daemonChecks(installation: Installation): Check[] {
  const { socket, adminSocket } = installation.options;
  return [
    { group: GROUP, name: "service", run: checkService },
    { group: GROUP, name: "driver socket", run: () => checkSocket(socket) },
    { group: GROUP, name: "admin socket", run: () => checkSocket(adminSocket) },
    { group: GROUP, name: "health", run: (signal) => checkHealth(adminSocket, signal) },
    { group: GROUP, name: "running version", run: (signal) => checkVersion(adminSocket, signal) },
    { group: GROUP, name: "limits", run: (signal) => checkLimits(adminSocket, signal) },
    { group: GROUP, name: "lazy images", run: (signal) => checkSession(installation, signal) },
    { group: GROUP, name: "mounts by hand", run: () => checkMounts(installation) },
  ];
}

async function checkService(): Promise<Outcome> {
  if (!await hasSystemd()) return skipped("systemd is not running here");
  const unit = await showUnit(SERVICE);
  const restarts = unit.restarts > 0 ? `, restarted ${unit.restarts} times since` : "";
  const mend = mendOf(unit);
  if (unit.load === "not-found") return warn(`there is no unit ${SERVICE}`, mend);
  if (unit.load === "masked") return fail(`the unit is masked: ${unit.active} (${unit.sub})`, mend);
  const seen = `${unit.active} (${unit.sub})${restarts}`;
  if (unit.active === "active") return ok(seen);
  if (!failsToStart(unit)) return warn(seen, mend);
  const since = unit.active === "failed" ? unit.started : RECENTLY;
  const said = await lastLoggedError({ unit: SERVICE, since });
  return said === undefined ? fail(seen, mend) : fail(`${seen}: ${said.state}`, said.hint ?? mend);
}

/** Whether it has failed, or is about to be tried again. */
function failsToStart({ active, restarts }: UnitState): boolean {
  return active === "failed" || (active === "activating" && restarts > 0);
}

/** Checks that a server listens on the socket and that only root can connect. */
export async function checkSocket(path: string): Promise<Outcome> {
  const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.lstat(path)).catch((error) => {
    if (error instanceof Deno.errors.PermissionDenied) return "forbidden" as const;
    throw error;
  });
  if (info === "forbidden") return skipped(`this user has no access to ${path}`, NEEDS_ROOT);
  if (info === undefined) return fail(`there is no ${path}`, await startCommand());
  if (!info.isSocket) return fail(`${path} is not a socket`, `rm ${path}, then ${RESTART}`);
  const mode = ((info.mode ?? 0) & 0o777).toString(8).padStart(4, "0");
  if (info.uid !== 0 || mode !== "0600") {
    return fail(`${path} belongs to user ${info.uid} with mode ${mode}, not to root with 0600`, RESTART);
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return ok(path);
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return skipped(`only root has access to ${path}`, NEEDS_ROOT);
    if (error instanceof Deno.errors.ConnectionRefused) {
      return fail(`nothing is listening at ${path}: a killed daemon left it behind`, await startCommand());
    }
    throw error;
  }
}

async function checkHealth(socket: string, signal: AbortSignal): Promise<Outcome> {
  const answer = await ask(socket, "/healthz", signal);
  if ("verdict" in answer) return answer;
  const { reasons } = v.parse(Health, JSON.parse(answer.text));
  if (answer.status !== 200) return fail(reasons.join("; ") || `HTTP ${answer.status}`, "nydus-gd status");
  const { problems = [] } = await statusOf(socket, signal) ?? {};
  return problems.length === 0
    ? ok("well")
    : warn(problems.map(({ message }) => message).join("; "), "nydus-gd status");
}

async function checkVersion(socket: string, signal: AbortSignal): Promise<Outcome> {
  const status = await statusOf(socket, signal);
  if (status === undefined) return skipped("no daemon answers");
  return status.version === VERSION
    ? ok(`${VERSION}, data path ${status.data_path.fs_driver} (${status.data_path.reason})`)
    : warn(`the daemon is ${status.version}, this program is ${VERSION}`, RESTART);
}

/** Checks the limits of the running daemon; without one those of this process, which a daemon started here would have. */
async function checkLimits(socket: string, signal: AbortSignal): Promise<Outcome> {
  const status = await statusOf(socket, signal);
  const low = lowLimits(status?.pid);
  const [first] = low;
  if (first === undefined) {
    return ok(`high enough for ${status === undefined ? "a daemon started here" : "the daemon"}`);
  }
  return warn(low.map(({ message }) => message).join("; "), first.remedy);
}

/** Status of the running daemon; undefined if none answers. */
export async function statusOf(socket: string, signal: AbortSignal): Promise<StatusDocument | undefined> {
  const answer = await ask(socket, "/v1/status", signal);
  if ("verdict" in answer || answer.status !== 200) return undefined;
  const parsed = v.safeParse(StatusDocument, JSON.parse(answer.text));
  return parsed.success ? parsed.output : undefined;
}

async function ask(
  socket: string,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string } | Outcome> {
  try {
    return await getOverUnix(socket, path, signal);
  } catch (error) {
    const code = unixErrorCode(error);
    if (code === "EACCES" || code === "EPERM") return skipped("only root has access", NEEDS_ROOT);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ECONNREFUSED") return skipped("no daemon answers");
    throw error;
  }
}

/** Checks that lazy images are served by the daemon and kept by the keeper. */
async function checkSession(
  { isRoot, options: { root, adminSocket } }: Installation,
  signal: AbortSignal,
): Promise<Outcome> {
  if (!isRoot) return skipped("only root can see the keeper", NEEDS_ROOT);
  const mounted = mountedImages(root);
  if (mounted === undefined) return ok("none is mounted");
  const keeper = await Keeper.pidOf(mounted.record);
  const serves = await statusOf(adminSocket, signal) !== undefined;
  if (keeper !== undefined && serves) return ok(`served, and kept by process ${keeper}`);
  if (keeper !== undefined) {
    return fail("no daemon is serving: programs wait when they read data that is not cached", await startCommand());
  }
  const get = mounted.without;
  return serves ? fail(`no keeper: if the daemon is killed, containers of lazy images ${get}`, RESTART) : fail(
    `daemon and keeper are gone: containers of lazy images ${get}`,
    `${await startCommand()}, then stop and start the containers`,
  );
}

/** Finds the keeper of the daemon's lazy images, and what programs get without it. Undefined if none is mounted. */
function mountedImages(root: string): { readonly record: string; readonly without: string } | undefined {
  const state = `${root}/state`;
  if (mountAt(`${root}/images`)?.fsType === FUSE_TYPE) return { record: keeperPath(state), without: "get errors" };
  const erofs = mountsBelow(`${root}/erofs`).filter(({ fsType }) => fsType === EROFS_TYPE);
  if (erofs.length === 0) return undefined;
  const isCached = erofs.some(({ superOptions }) => superOptions.includes("fsid=")); // by the kernel: fscache
  return isCached
    ? { record: fscacheKeeperPath(state), without: "get errors" }
    : { record: fanotifyKeeperPath(state), without: "read zeros for what is missing" };
}

/** Checks for mounts by `nydus-gd mount` whose server has died. */
async function checkMounts({ isRoot }: Installation): Promise<Outcome> {
  if (!isRoot) return skipped("only root can read their state", NEEDS_ROOT);
  const places = readMountinfo().filter((entry) => isOurs(entry.mountPoint, entry)).map((entry) => entry.mountPoint);
  const served = await Promise.all(places.map((place) => isServed(place)));
  const dead = places.filter((_, index) => served[index] === false);
  if (dead.length > 0) {
    return fail(`${dead.join(", ")}: the server has died, programs wait`, `nydus-gd umount ${dead[0]}, or mount again`);
  }
  const count = served.filter((isServed) => isServed).length;
  return ok(count === 0 ? "none" : `${count} served`);
}

/** Command that starts the daemon on this machine. */
async function startCommand(): Promise<string> {
  if (!await hasSystemd()) return "nydus-gd serve";
  return mendOf(await showUnit(SERVICE));
}

/** Command that leads to a running daemon, or to the reason why there is none. */
function mendOf(unit: UnitState): string {
  if (unit.load === "not-found") return "nydus-gd setup";
  if (unit.load === "masked") return `systemctl unmask ${SERVICE}, then nydus-gd setup`;
  if (unit.active === "active") return RESTART; // it runs without what was looked for
  return failsToStart(unit) ? JOURNAL : `systemctl start ${SERVICE}`;
}

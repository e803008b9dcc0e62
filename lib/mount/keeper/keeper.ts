/**
 * A process that does nothing but hold descriptors of the daemon, so that they outlive it.
 *
 * ```
 * daemon ── Keeper.start(record, descriptors) ──► `sleep infinity`, inherits the descriptors
 *    ✝ kill -9
 * daemon ── Keeper.take(record) ──► duplicates of the same open files, by pidfd_getfd(2)
 * ```
 * If a service manager started the daemon, its descriptor store holds them as well (ffi/libsystemd.ts), which survives
 * even the end of the whole unit with its keeper.
 *
 * What the kernel would end with the last descriptor (a FUSE connection and its clones, a fanotify group) persists, and
 * programs that read meanwhile wait. A keeper that dies while its daemon lives is replaced at once. The record is a
 * JSON file that identifies the process by pid, start time and boot id, so that it is never mistaken for another.
 *
 * However the daemon ends, no unrecorded keeper remains, since it would hold a connection that nobody serves. A new
 * keeper waits until it is recorded and exits if the daemon dies before that. Until the next record is written, the
 * record also names the keeper that this one replaces.
 *
 * The descriptors are not close-on-exec while the process is started, so no other thread of the daemon may start a
 * process at the same time.
 *
 * @module
 */
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { inheritedDescriptors, removeStoredDescriptor, storeDescriptor } from "../../../ffi/libsystemd.ts";
import { pidfdGetfd, pidfdOpen, pidfdSendSignal, SIGNAL } from "../../../ffi/pidfd.ts";
import { processStat, readProcessFile, readProcessLink } from "../../../ffi/procfs.ts";
import * as v from "valibot";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";

const log = logger("mount", "keeper");

/** Descriptors by name, such as "fuse-0". */
export type Descriptors = ReadonlyMap<string, Fd>;

const counting = v.pipe(v.number(), v.integer(), v.minValue(0));
const Named = v.object({
  pid: counting,
  /** Field 22 of /proc/PID/stat, clock ticks since boot. */
  startTime: v.string(),
});
type Named = v.InferOutput<typeof Named>;
const Kept = v.object({
  ...Named.entries,
  bootId: v.string(),
  /** Names, and descriptor numbers in the keeper. */
  descriptors: v.array(v.tuple([v.string(), counting])),
  /** The keeper replaced by this one; still alive only if the daemon died in between. */
  former: v.optional(Named),
});
type Kept = v.InferOutput<typeof Kept>;

/**
 * The keeper's script: waits for a line that says that it is recorded ($0), then sleeps. If the daemon dies instead,
 * the record, one line of JSON, decides.
 */
const KEEPING = `
if ! read -r told; then
  read -r record <"$0" || exit
  case $record in '{"pid":'$$,*) ;; *) exit ;; esac
fi
exec sleep infinity </dev/null
`;
const RECORDED_MESSAGE = new TextEncoder().encode("on record\n");

/**
 * What a keeper has in its environment, so that it is found if its record is damaged or missing: the path of the
 * record, and {@link Kept.descriptors} as JSON.
 */
const KEEPER_ENV = { record: "NYDUS_GD_KEEPER_RECORD", descriptors: "NYDUS_GD_KEEPER_DESCRIPTORS" } as const;

/** Path of the record of the keeper for the FUSE session in `stateDir`. */
export function keeperPath(stateDir: string): string {
  return `${stateDir}/keeper.json`;
}

/** Path of the record of the keeper for the fanotify group in `stateDir`. */
export function fanotifyKeeperPath(stateDir: string): string {
  return `${stateDir}/fanotify-keeper.json`;
}

/** Path of the record of the keeper for the kernel's cache in `stateDir`. */
export function fscacheKeeperPath(stateDir: string): string {
  return `${stateDir}/fscache-keeper.json`;
}

/** The daemon's handle of a running keeper. */
export class Keeper implements AsyncDisposable {
  #process: Deno.ChildProcess | undefined;
  #watching: Promise<void> = Promise.resolve();
  #ended = false;

  private constructor(private readonly recordPath: string, private readonly descriptors: Descriptors) {}

  /**
   * Starts a keeper of `descriptors`, which the caller owns and must leave open as long as the keeper runs. A keeper
   * left by an earlier daemon under the same record is killed once the new one is recorded.
   *
   * @throws {NydusGdError} "environment" when no process can be started
   */
  static async start(recordPath: string, descriptors: Descriptors): Promise<Keeper> {
    const kept = await readRecord(recordPath) ?? searched?.get(recordPath);
    endFormer(kept);
    using former = findLiving(kept);
    const keeper = new Keeper(recordPath, descriptors);
    await keeper.#spawn(former?.kept);
    searched?.delete(recordPath);
    for (const [name, fd] of descriptors) storeDescriptor(name, fd);
    if (former !== undefined) kill(former.process);
    return keeper;
  }

  /**
   * Duplicates the descriptors held by an earlier daemon's keeper or the service manager; undefined if they are gone.
   */
  static async take(recordPath: string): Promise<Map<string, Fd> | undefined> {
    const kept = await readRecordOrSearch(recordPath);
    using living = findLiving(kept);
    if (living === undefined) return takeStored(kept);
    const taken = new Map<string, Fd>();
    try {
      for (const [name, number] of living.kept.descriptors) taken.set(name, pidfdGetfd(living.process, number));
      return taken;
    } catch (error) {
      for (const fd of taken.values()) fd[Symbol.dispose]();
      if (!(error instanceof SyscallError)) throw error;
      log.warn("keeper cannot be used", { pid: living.kept.pid, reason: error.message });
      return undefined;
    }
  }

  /** Pid of the recorded keeper; undefined if it is not alive. */
  static async pidOf(recordPath: string): Promise<number | undefined> {
    using living = findLiving(await readRecord(recordPath));
    return living?.kept.pid;
  }

  /** Whether the record is of this boot, whether the keeper is alive or not. */
  static async isOfThisBoot(recordPath: string): Promise<boolean> {
    return (await readRecordOrSearch(recordPath))?.bootId === bootId();
  }

  /** Kills a keeper left by an earlier daemon and removes its record, giving up what it held. */
  static async discard(recordPath: string): Promise<void> {
    const kept = await readRecordOrSearch(recordPath);
    using living = findLiving(kept);
    if (living !== undefined) kill(living.process);
    endFormer(kept);
    for (const [name] of kept?.descriptors ?? []) forget(name);
    searched?.delete(recordPath);
    await ignore(Deno.errors.NotFound, Deno.remove(recordPath));
  }

  /** Leaves the process running for a successor of the daemon. */
  leave(): void {
    this.#ended = true;
    this.#process?.unref();
  }

  /** Kills the process and removes its record. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#process?.ref(); // or the program could exit while it waits
    this.#process?.kill("SIGKILL");
    await this.#watching;
    for (const name of this.descriptors.keys()) forget(name);
    await ignore(Deno.errors.NotFound, Deno.remove(this.recordPath));
  }

  /** @param former the keeper to be killed once the new one is recorded */
  async #spawn(former?: Named): Promise<void> {
    const child = this.#start();
    child.unref();
    this.#process = child;
    const kept: Kept = {
      pid: child.pid,
      startTime: startTimeOf(child.pid) ?? "",
      bootId: bootId(),
      descriptors: this.#numbers(),
      ...former && { former: { pid: former.pid, startTime: former.startTime } },
    };
    const stdin = child.stdin.getWriter();
    try {
      await writeJsonFile(this.recordPath, kept, "process");
      await ignore(Error, stdin.write(RECORDED_MESSAGE)); // one that died is replaced by #watch
    } finally {
      await ignore(Error, stdin.close());
    }
    this.#watching = this.#watch(child);
  }

  /** Names and numbers of the descriptors, which are the same in the keeper. */
  #numbers(): Kept["descriptors"] {
    return Array.from(this.descriptors, ([name, fd]) => [name, fd.raw]);
  }

  #env(): Record<string, string> {
    return {
      [KEEPER_ENV.record]: this.recordPath,
      [KEEPER_ENV.descriptors]: JSON.stringify(this.#numbers()),
    };
  }

  #start(): Deno.ChildProcess {
    const fds = [...this.descriptors.values()];
    for (const fd of fds) fd.setCloseOnExec(false);
    try {
      // A session of its own: what ends the daemon's terminal or process group does not end it. By setsid(1), as the
      // runtime's `detached` forks the whole process, for which its main thread waits 6 ms and more.
      const options = { cwd: "/", stdin: "piped", stdout: "null", stderr: "null", env: this.#env() } as const;
      return new Deno.Command("setsid", { args: ["sh", "-c", KEEPING, this.recordPath], ...options }).spawn();
    } catch (error) {
      throw new NydusGdError("environment", `Cannot start keeper: ${messageOf(error)}`, { cause: error });
    } finally {
      for (const fd of fds) fd.setCloseOnExec(true);
    }
  }

  /** Replaces a keeper that died. Never rejects. */
  async #watch(child: Deno.ChildProcess): Promise<void> {
    const { code, signal } = await child.status;
    if (this.#ended) return;
    log.warn("keeper died, starting another", { pid: child.pid, code, signal });
    try {
      await this.#spawn();
    } catch (error) {
      log.error("no keeper: if this program is killed, containers of lazy images get errors", {
        reason: messageOf(error),
      });
    }
  }
}

/** Duplicates the recorded descriptors inherited from the service manager: all of them or none. */
function takeStored(kept: Kept | undefined): Map<string, Fd> | undefined {
  const stored = inheritedDescriptors();
  if (kept?.bootId !== bootId() || !kept.descriptors.every(([name]) => stored.get(name)?.closed === false)) {
    return undefined;
  }
  log.info("descriptors come from the service manager", { count: kept.descriptors.length });
  return new Map(kept.descriptors.map(([name]) => [name, (stored.get(name) as Fd).duplicate()]));
}

/** Removes the descriptor from the service manager's store and closes the inherited one. */
function forget(name: string): void {
  removeStoredDescriptor(name);
  inheritedDescriptors().get(name)?.[Symbol.dispose]();
}

/** A live keeper. */
class Living implements Disposable {
  constructor(readonly kept: Kept, readonly process: Fd) {}

  [Symbol.dispose](): void {
    this.process[Symbol.dispose]();
  }
}

/** Undefined if there is no record. In place of a damaged one, what a running keeper says of itself. */
async function readRecord(recordPath: string): Promise<Kept | undefined> {
  try {
    const document = await readJsonFile(recordPath);
    return document === undefined ? undefined : v.parse(Kept, document);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof v.ValiError)) throw error;
    const found = findKeepers().get(recordPath);
    log.warn("record of the keeper is damaged", { recordPath, reason: error.message, found: found?.pid });
    return found;
  }
}

/** The keepers that ran when a record was missing for the first time: this process has replaced none of them then. */
let searched: Map<string, Kept> | undefined;

/** Like {@link readRecord}; also in place of a missing record. */
async function readRecordOrSearch(recordPath: string): Promise<Kept | undefined> {
  const kept = await readRecord(recordPath);
  if (kept !== undefined) return kept;
  const found = (searched ??= findKeepers()).get(recordPath);
  if (found !== undefined) log.warn("record of the keeper is missing", { recordPath, found: found.pid });
  return found;
}

/** Looks for keepers among the processes that see the same files. Returns them by the path of their record. */
function findKeepers(): Map<string, Kept> {
  const keepers = new Map<string, Kept>();
  for (const { name: pid } of Deno.readDirSync("/proc")) {
    const [recordPath, kept] = /^\d+$/.test(pid) ? keptBy(pid) ?? [] : [];
    if (recordPath !== undefined && kept !== undefined) keepers.set(recordPath, kept);
  }
  return keepers;
}

/** Returns what process `pid` holds, and for which record; undefined if it is no keeper, or may not be looked at. */
function keptBy(pid: string): [string, Kept] | undefined {
  try {
    const environment = new Map(environmentOf(pid));
    const recordPath = environment.get(KEEPER_ENV.record);
    if (recordPath === undefined || readProcessLink(pid, "ns/mnt") !== readProcessLink("self", "ns/mnt")) {
      return undefined;
    }
    const descriptors = JSON.parse(environment.get(KEEPER_ENV.descriptors) ?? "[]");
    const kept = { pid: Number(pid), startTime: startTimeOf(Number(pid)) ?? "", bootId: bootId(), descriptors };
    return v.is(Kept, kept) ? [recordPath, kept] : undefined;
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM") || error instanceof Deno.errors.PermissionDenied) return undefined;
    throw error;
  }
}

function environmentOf(pid: string): [string, string][] {
  const entries = readProcessFile(pid, "environ")?.split("\0") ?? [];
  return entries.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]);
}

function findLiving(kept: Kept | undefined): Living | undefined {
  if (kept?.bootId !== bootId()) return undefined;
  const process = openProcess(kept);
  return process && new Living(kept, process);
}

/** Undefined if the process has ended. */
function openProcess({ pid, startTime }: Named): Fd | undefined {
  let process: Fd;
  try {
    process = pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, "ESRCH", "EINVAL")) return undefined;
    throw error;
  }
  // checked after pidfd_open: a process that reused the pid shows another start time
  if (startTimeOf(pid) === startTime) return process;
  process[Symbol.dispose]();
  return undefined;
}

/** Kills the keeper that `kept` replaced, left by a daemon that died in between. */
function endFormer(kept: Kept | undefined): void {
  if (kept?.former === undefined || kept.bootId !== bootId()) return;
  using process = openProcess(kept.former);
  if (process !== undefined) kill(process);
}

function kill(process: Fd): void {
  try {
    pidfdSendSignal(process, SIGNAL.KILL);
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
}

/** Undefined for a process that has ended, including zombies. */
function startTimeOf(pid: number): string | undefined {
  const stat = processStat(pid); // field 3 is the state, field 22 the start time
  return stat?.[0] === "Z" ? undefined : stat?.[19];
}

function bootId(): string {
  return Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
}

/**
 * A process that holds descriptors of the daemon and does nothing else, so that they outlive it.
 *
 * ```
 * daemon ── Keeper.start(record, descriptors) ──► `sleep infinity`, born with the descriptors
 *    ✝ kill -9
 * daemon ── Keeper.take(record) ──► duplicates of the same open files, by pidfd_getfd(2)
 * ```
 * Where a service manager started the daemon, its descriptor store has them as well (ffi/libsystemd.ts): that outlives
 * even the end of the whole unit, keeper and all.
 *
 * What the kernel would end with the last descriptor (a FUSE connection and its clones, a fanotify group) goes on:
 * programs that read meanwhile wait. A keeper that dies while its daemon lives is replaced at once. The record is a JSON
 * file; it names the process by number, start time and boot, so that it is never mistaken for another.
 *
 * However the daemon ends, no keeper is left that nobody knows of, as it would hold on to a connection that nobody
 * serves. A new one waits until it is on record, and ends where the daemon does so before; the record names the one that
 * it replaces, too, until the next is written.
 *
 * The descriptors are not close-on-exec while the process is started: no other may be started at the same moment by
 * another thread of the daemon.
 *
 * @module
 */
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { inheritedDescriptors, removeStoredDescriptor, storeDescriptor } from "../../../ffi/libsystemd.ts";
import { pidfdGetfd, pidfdOpen, pidfdSendSignal, SIGNAL } from "../../../ffi/pidfd.ts";
import { processStat } from "../../../ffi/procfs.ts";
import * as v from "valibot";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";

const log = logger("mount", "keeper");

/** Descriptors by what they are: "fuse-0". */
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
  /** Numbers in the keeper. */
  descriptors: v.array(v.tuple([v.string(), counting])),
  /** The keeper that this one replaced; it may be alive only where the daemon died meanwhile. */
  former: v.optional(Named),
});
type Kept = v.InferOutput<typeof Kept>;

/**
 * What a keeper does: waits for a line that says that it is on record ($0), and sleeps. Where the daemon dies instead,
 * the record, one line of JSON, decides.
 */
const KEEPING = `
if ! read -r told; then
  read -r record <"$0" || exit
  case $record in '{"pid":'$$,*) ;; *) exit ;; esac
fi
exec sleep infinity </dev/null
`;
const TOLD = new TextEncoder().encode("on record\n");

/** Where the keeper of the FUSE session in `stateDir` is on record. */
export function keeperPath(stateDir: string): string {
  return `${stateDir}/keeper.json`;
}

/** Where the keeper of the fanotify group in `stateDir` is on record. */
export function fanotifyKeeperPath(stateDir: string): string {
  return `${stateDir}/fanotify-keeper.json`;
}

/** Where the keeper of the kernel's cache in `stateDir` is on record. */
export function fscacheKeeperPath(stateDir: string): string {
  return `${stateDir}/fscache-keeper.json`;
}

/** The daemon's end of a keeper that runs. */
export class Keeper implements AsyncDisposable {
  #process: Deno.ChildProcess | undefined;
  #watching: Promise<void> = Promise.resolve();
  #ended = false;

  private constructor(private readonly recordPath: string, private readonly descriptors: Descriptors) {}

  /**
   * Starts a keeper of `descriptors`, which stay the caller's and must be open as long as the keeper is. One that an
   * earlier daemon left under the same record is ended once the new one is on record.
   *
   * @throws {NydusGdError} "environment" when no process can be started
   */
  static async start(recordPath: string, descriptors: Descriptors): Promise<Keeper> {
    const kept = await readRecord(recordPath);
    endFormer(kept);
    using former = findLiving(kept);
    const keeper = new Keeper(recordPath, descriptors);
    await keeper.#spawn(former?.kept);
    for (const [name, fd] of descriptors) storeDescriptor(name, fd);
    if (former !== undefined) kill(former.process);
    return keeper;
  }

  /**
   * Duplicates of what a keeper of an earlier daemon holds, or the service manager kept; undefined where it is gone.
   */
  static async take(recordPath: string): Promise<Map<string, Fd> | undefined> {
    const kept = await readRecord(recordPath);
    using living = findLiving(kept);
    if (living === undefined) return takeStored(kept);
    const taken = new Map<string, Fd>();
    try {
      for (const [name, number] of living.kept.descriptors) taken.set(name, pidfdGetfd(living.process, number));
      return taken;
    } catch (error) {
      for (const fd of taken.values()) fd[Symbol.dispose]();
      if (!(error instanceof SyscallError)) throw error;
      log.warn("keeper is of no use", { pid: living.kept.pid, reason: error.message });
      return undefined;
    }
  }

  /** The process that holds what is on record; undefined where none is alive. */
  static async pidOf(recordPath: string): Promise<number | undefined> {
    using living = findLiving(await readRecord(recordPath));
    return living?.kept.pid;
  }

  /** Whether a keeper is on record that was started since the machine was, alive or not. */
  static async isOfThisBoot(recordPath: string): Promise<boolean> {
    return (await readRecord(recordPath))?.bootId === bootId();
  }

  /** Ends a keeper that an earlier daemon left, and its record: what it held is given up. */
  static async discard(recordPath: string): Promise<void> {
    const kept = await readRecord(recordPath);
    using living = findLiving(kept);
    if (living !== undefined) kill(living.process);
    endFormer(kept);
    for (const [name] of kept?.descriptors ?? []) forget(name);
    await ignore(Deno.errors.NotFound, Deno.remove(recordPath));
  }

  /** Leaves the process as it is, for a successor of the daemon. */
  leave(): void {
    this.#ended = true;
    this.#process?.unref();
  }

  /** Ends the process and removes its record. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#process?.ref(); // or the program could end while it waits
    this.#process?.kill("SIGKILL");
    await this.#watching;
    for (const name of this.descriptors.keys()) forget(name);
    await ignore(Deno.errors.NotFound, Deno.remove(this.recordPath));
  }

  /** @param former the keeper that is ended once the new one is on record */
  async #spawn(former?: Named): Promise<void> {
    const child = this.#start();
    child.unref();
    this.#process = child;
    const kept: Kept = {
      pid: child.pid,
      startTime: startTimeOf(child.pid) ?? "",
      bootId: bootId(),
      descriptors: Array.from(this.descriptors, ([name, fd]) => [name, fd.raw]),
      ...former && { former: { pid: former.pid, startTime: former.startTime } },
    };
    const stdin = child.stdin.getWriter();
    try {
      await writeJsonFile(this.recordPath, kept, "process");
      await ignore(Error, stdin.write(TOLD)); // one that died is replaced like any other
    } finally {
      await ignore(Error, stdin.close());
    }
    this.#watching = this.#watch(child);
  }

  #start(): Deno.ChildProcess {
    const fds = [...this.descriptors.values()];
    for (const fd of fds) fd.setCloseOnExec(false);
    try {
      // its own session: what ends the daemon's terminal or process group does not end it
      const options = { cwd: "/", detached: true, stdin: "piped", stdout: "null", stderr: "null" } as const;
      return new Deno.Command("sh", { args: ["-c", KEEPING, this.recordPath], ...options }).spawn();
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

/** What the service manager handed over of the descriptors on record: all of them or none. */
function takeStored(kept: Kept | undefined): Map<string, Fd> | undefined {
  const stored = inheritedDescriptors();
  if (kept?.bootId !== bootId() || !kept.descriptors.every(([name]) => stored.get(name)?.closed === false)) {
    return undefined;
  }
  log.info("descriptors come from the service manager", { count: kept.descriptors.length });
  return new Map(kept.descriptors.map(([name]) => [name, (stored.get(name) as Fd).duplicate()]));
}

/** Nobody holds the descriptor by way of the service manager any more. */
function forget(name: string): void {
  removeStoredDescriptor(name);
  inheritedDescriptors().get(name)?.[Symbol.dispose]();
}

/** A keeper that is alive. */
class Living implements Disposable {
  constructor(readonly kept: Kept, readonly process: Fd) {}

  [Symbol.dispose](): void {
    this.process[Symbol.dispose]();
  }
}

/** Undefined where there is none, or a damaged one. */
async function readRecord(recordPath: string): Promise<Kept | undefined> {
  const document = await readJsonFile(recordPath).catch((error) => {
    if (!(error instanceof SyntaxError)) throw error;
    log.warn("record of the keeper is damaged", { recordPath, reason: error.message });
    return undefined;
  });
  const record = v.safeParse(Kept, document);
  return record.success ? record.output : undefined;
}

function findLiving(kept: Kept | undefined): Living | undefined {
  if (kept?.bootId !== bootId()) return undefined;
  const process = openProcess(kept);
  return process && new Living(kept, process);
}

/** Undefined where it has ended. */
function openProcess({ pid, startTime }: Named): Fd | undefined {
  let process: Fd;
  try {
    process = pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, "ESRCH", "EINVAL")) return undefined;
    throw error;
  }
  // asked after the descriptor is there: a process that took the number over would show its own time
  if (startTimeOf(pid) === startTime) return process;
  process[Symbol.dispose]();
  return undefined;
}

/** Ends the keeper that `kept` replaced, which a daemon that died in between has left. */
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

/** Undefined for a process that has ended, waited for or not. */
function startTimeOf(pid: number): string | undefined {
  const stat = processStat(pid); // field 3 is the state, field 22 the start
  return stat?.[0] === "Z" ? undefined : stat?.[19];
}

function bootId(): string {
  return Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
}

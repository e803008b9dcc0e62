/**
 * Carries a plan out: what was is on record before anything is changed, so that a run that was interrupted at any moment
 * can be finished by another one, or undone.
 *
 * ```
 * backup, record ──► files, one after the other ──► services
 *                                                     └─ Docker does not come back: everything is undone
 * ```
 *
 * @module
 */
import { hasCode, messageOf, NydusGdError } from "../base/errors.ts";
import { throwIfAborted } from "../base/abort.ts";
import { lockFile } from "../layer/home_lock.ts";
import { writeState } from "./file_state.ts";
import type { Host } from "./host.ts";
import type { Plan } from "./plan.ts";
import { isEdited, SetupRecord } from "./record.ts";
import { systemctl } from "./systemd.ts";
import { planUndo, undo } from "./undo.ts";

/** Told of each step before it is taken. */
export type Progress = (step: string) => void;

/** Runs `work` while no other setup changes this machine. @throws {NydusGdError} "busy" */
export async function alone<T>(host: Host, work: () => Promise<T>): Promise<T> {
  await Deno.mkdir(host.stateDir, { recursive: true, mode: 0o700 });
  using _lock = lockSetup(host);
  return await work();
}

function lockSetup(host: Host): Disposable {
  try {
    return lockFile(`${host.stateDir}/lock`, "setup");
  } catch (error) {
    if (!hasCode(error, "busy")) throw error;
    throw new NydusGdError("busy", "Cannot set up: another nydus-gd setup is at work", {
      hint: "let it end, or end it: ps -C nydus-gd",
      cause: error,
    });
  }
}

/**
 * @param signal heeded between steps
 * @throws {NydusGdError} "environment" where a service does not start; where that is Docker, everything was undone
 */
export async function apply(host: Host, plan: Plan, progress: Progress, signal: AbortSignal): Promise<void> {
  const record = await SetupRecord.open(host);
  for (const { path, current, before, after, follow, members } of plan.changes) {
    throwIfAborted(signal);
    progress(`write ${path}`);
    const recorded = record.of(path);
    if (recorded !== undefined && members === undefined && isEdited(recorded, current)) {
      progress(`keep a copy of ${path} as ${await record.keepEdited(path, current)}`);
    }
    await record.note(path, before, after, members);
    await writeState(host.at(path), after, follow);
  }
  for (const words of plan.services) {
    throwIfAborted(signal);
    progress(`systemctl ${words.join(" ")}`);
    try {
      await systemctl(...words);
    } catch (error) {
      if (!hasCode(error, "environment")) throw error;
      await putBack(host, progress, error);
    }
  }
}

/** A service did not start: the machine gets back what it had. @throws always */
async function putBack(host: Host, progress: Progress, cause: NydusGdError): Promise<never> {
  progress(`${cause.message}: putting everything back`);
  const { signal } = new AbortController();
  await undo(host, await planUndo({ host, force: true }, signal), progress, signal);
  throw new NydusGdError("environment", `Cannot set up: ${messageOf(cause)}; everything is as it was`, {
    ...(cause.hint === undefined ? {} : { hint: cause.hint }),
    cause,
  });
}

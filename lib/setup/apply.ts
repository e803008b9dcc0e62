/**
 * Executes a plan. The original state is recorded before anything changes, so that a run interrupted at any point can
 * be completed by another run or undone.
 *
 * ```
 * backup, record ──► files, one at a time ──► services
 *                    └────────────────────────┴─ unwritable file, failed start or Ctrl-C: everything is reverted
 * ```
 *
 * @module
 */
import { hasCode, messageOf, NydusGdError } from "../base/errors.ts";
import { throwIfAborted } from "../base/abort.ts";
import { lockFile } from "../base/server_lock.ts";
import { isChange } from "./file_change.ts";
import { readFileState, writeFileState } from "./file_state.ts";
import type { Host } from "./host.ts";
import { whyItEnded } from "./journal.ts";
import type { Plan } from "./plan.ts";
import { SetupRecord } from "./record.ts";
import { eachService, keepIfEdited, type OnStep, type SetupRun } from "./setup_run.ts";
import { runStep, showUnit } from "./systemd.ts";
import { planUndo, undo } from "./undo.ts";

/** Never aborted: an interrupted setup is reverted completely. */
const { signal: NEVER } = new AbortController();

/** Runs `work` while holding the setup lock of this machine. @throws {NydusGdError} "busy" */
export async function withSetupLock<T>(host: Host, work: () => Promise<T>): Promise<T> {
  await Deno.mkdir(host.stateDir, { recursive: true, mode: 0o700 });
  using _lock = lockSetup(host);
  return await work();
}

function lockSetup(host: Host): Disposable {
  try {
    return lockFile(`${host.stateDir}/lock`, "setup");
  } catch (error) {
    if (!hasCode(error, "busy")) throw error;
    throw new NydusGdError("busy", "Cannot set up: another nydus-gd setup is running", {
      hint: "wait for it, or stop it: ps -C nydus-gd",
      cause: error,
    });
  }
}

/**
 * Executes the plan.
 *
 * @param signal checked between steps
 * @throws {NydusGdError} "environment" when a service does not start, "io" when a file cannot be written,
 * "interrupted"; the original state is restored first, and the message says so if that failed as well
 */
export async function apply(host: Host, plan: Plan, progress: OnStep, signal: AbortSignal): Promise<void> {
  const record = await SetupRecord.open(host);
  const wasSetUp = record.files.length > 0;
  const run: SetupRun = { host, record, progress, signal };
  try {
    await change(run, plan);
    await eachService(run, plan.services, runService);
  } catch (error) {
    if (!hasCode(error, "environment", "io", "interrupted")) throw error;
    progress(`${error.message}: putting everything back`);
    try {
      await (wasSetUp ? putBack(host, plan, progress) : undoAll(host, progress));
    } catch (another) {
      const hint = "nydus-gd setup --undo, when that is mended";
      throw setupFailed(error, `putting everything back failed, too: ${sentencePart(messageOf(another))}`, hint);
    }
    if (error.code === "interrupted") throw error;
    throw setupFailed(error, "everything is as it was", error.hint);
  }
}

/** @param ending what became of the machine */
function setupFailed(error: NydusGdError, ending: string, hint: string | undefined): NydusGdError {
  return new NydusGdError(error.code, `Cannot set up: ${sentencePart(error.message)}; ${ending}`, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

function sentencePart(message: string): string {
  return message.replace(/^Cannot /, "cannot ");
}

async function change(run: SetupRun, { changes }: Plan): Promise<void> {
  const { host, record, progress, signal } = run;
  for (const change of changes) {
    throwIfAborted(signal);
    await keepIfEdited(run, change);
    const { path, before, after, follow, ourPart } = change;
    progress(`write ${path}`);
    await record.note(path, before, after, ourPart);
    await writeFileState(host.at(path), after, { follow });
  }
}

/** @throws {NydusGdError} "environment" with the service's own error message, or the last lines of its log */
async function runService(words: readonly string[]): Promise<void> {
  const unit = words.at(-1) ?? "";
  if (!unit.endsWith(".service")) return await runStep(words);
  const { invocation: previous } = await showUnit(unit);
  const since = `@${Math.floor(Date.now() / 1000)}`;
  try {
    await runStep(words);
  } catch (error) {
    if (!hasCode(error, "environment")) throw error;
    const said = await whyItEnded({ unit, since, previous });
    if (said === undefined) throw error;
    const hint = said.hint ?? `journalctl -u ${unit} -n 50`;
    throw new NydusGdError("environment", `Cannot start ${unit}: ${said.state}`, { hint, cause: error });
  }
}

/** Reverts the changes of this plan; changes of an earlier setup stay. */
async function putBack(host: Host, { changes, services }: Plan, progress: OnStep): Promise<void> {
  for (const { path, current, follow } of changes.toReversed()) {
    const now = await readFileState(host.at(path), { follow });
    if (!isChange({ current: now, after: current })) continue;
    progress(`put ${path} back`);
    await writeFileState(host.at(path), current, { follow });
  }
  await eachService({ progress, signal: NEVER }, services, runStep);
}

/** Reverts everything, because there was no earlier setup. */
async function undoAll(host: Host, progress: OnStep): Promise<void> {
  await undo(host, await planUndo({ host, force: true }, NEVER), progress, NEVER);
}

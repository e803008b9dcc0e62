/**
 * The parts of systemctl that setup and doctor need.
 *
 * @module
 */
import { ignore, NydusGdError } from "../base/errors.ts";

/** Timeout for a unit to start or stop. */
const TIMEOUT_MS = 180_000;

/** Whether this machine was booted with systemd: sd_booted(3). */
export async function hasSystemd(): Promise<boolean> {
  return (await ignore(Deno.errors.NotFound, Deno.stat("/run/systemd/system")))?.isDirectory ?? false;
}

/** Properties of a unit: org.freedesktop.systemd1(5). */
const UNIT_PROPERTIES = [
  ...["LoadState", "ActiveState", "SubState", "NRestarts", "InvocationID"],
  ...["ExecMainStartTimestamp", "InactiveExitTimestamp"],
];

/** State of a unit. */
export interface UnitState {
  /** "loaded", "not-found", "masked". */
  readonly load: string;
  /** "active", "inactive", "failed", "activating" (also between automatic restarts). */
  readonly active: string;
  /** "running". */
  readonly sub: string;
  /** Automatic restarts since the last manual start. */
  readonly restarts: number;
  /** Identifies its last run. */
  readonly invocation: string;
  /** When its last run began, at the latest when its main process did: as journalctl's `--since` has it. */
  readonly started: string;
}

/** @throws {NydusGdError} "environment" */
export async function showUnit(unit: string): Promise<UnitState> {
  const text = await systemctl("show", unit, ...UNIT_PROPERTIES.map((name) => `--property=${name}`));
  const values = new Map(text.split("\n").map((line) => [line.split("=", 1)[0], line.slice(line.indexOf("=") + 1)]));
  return {
    load: values.get("LoadState") ?? "",
    active: values.get("ActiveState") ?? "",
    sub: values.get("SubState") ?? "",
    restarts: Number(values.get("NRestarts") ?? 0),
    invocation: values.get("InvocationID") ?? "",
    // "inactive" is also left by waiting for a restart, after the run; a run that fails early has no main process
    started: values.get("ExecMainStartTimestamp") || values.get("InactiveExitTimestamp") || "",
  };
}

/** Whether a unit was started, and not stopped since: a restart concerns it. */
export async function isStarted(unit: string): Promise<boolean> {
  const { load, active } = await showUnit(unit);
  return load !== "not-found" && active !== "inactive";
}

/**
 * Runs a step of a plan: the arguments of systemctl.
 *
 * systemd refuses to start a unit that has failed several times in a row, whatever was mended since. So a restart
 * resets that count first.
 *
 * @throws {NydusGdError} "environment"
 */
export async function runStep(words: readonly string[]): Promise<void> {
  if (words[0] === "restart") await systemctl("reset-failed", ...words.slice(1));
  await systemctl(...words);
}

/**
 * Runs systemctl and returns its output.
 *
 * @throws {NydusGdError} "environment" with its error message
 */
export async function systemctl(...args: string[]): Promise<string> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const command = new Deno.Command("systemctl", {
      args,
      stdin: "null",
      env: { LC_ALL: "C", TZ: "UTC" },
      signal: timeout,
    });
    const { success, stdout, stderr } = await command.output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    if (success) return text(stdout);
    const state = timeout.aborted ? `it took longer than ${TIMEOUT_MS / 1000} s` : text(stderr).split("\n")[0];
    const unit = args.find((arg) => arg.endsWith(".service"));
    const remedy = /\bis masked\b/.test(state ?? "") ? `systemctl unmask ${unit}` : `journalctl -u ${unit} -n 50`;
    const hint = unit === undefined ? {} : { hint: remedy };
    throw new NydusGdError("environment", `Cannot run systemctl ${args.join(" ")}: ${state}`, hint);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new NydusGdError("environment", "Cannot run systemctl: it is not installed", { cause: error });
  }
}

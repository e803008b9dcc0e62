/**
 * The parts of systemctl that setup and doctor need.
 *
 * @module
 */
import * as v from "valibot";
import { ignore, NydusGdError } from "../base/errors.ts";

/** Timeout for a unit to start or stop. */
const TIMEOUT_MS = 180_000;

/** Whether this machine was booted with systemd: sd_booted(3). */
export async function hasSystemd(): Promise<boolean> {
  return (await ignore(Deno.errors.NotFound, Deno.stat("/run/systemd/system")))?.isDirectory ?? false;
}

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
  /** Lines of its last run, as an argument of journalctl. */
  readonly lastRun: string;
}

/** @throws {NydusGdError} "environment" */
export async function showUnit(unit: string): Promise<UnitState> {
  const names = ["LoadState", "ActiveState", "SubState", "NRestarts", "InvocationID"];
  const text = await systemctl("show", unit, ...names.map((name) => `--property=${name}`));
  const values = new Map(text.split("\n").map((line) => [line.split("=", 1)[0], line.slice(line.indexOf("=") + 1)]));
  const invocation = values.get("InvocationID") ?? "";
  return {
    load: values.get("LoadState") ?? "",
    active: values.get("ActiveState") ?? "",
    sub: values.get("SubState") ?? "",
    restarts: Number(values.get("NRestarts") ?? 0),
    invocation,
    lastRun: `_SYSTEMD_INVOCATION_ID=${invocation}`,
  };
}

/** Whether a unit was started, and not stopped since: a restart concerns it. */
export async function isStarted(unit: string): Promise<boolean> {
  const { load, active } = await showUnit(unit);
  return load !== "not-found" && active !== "inactive";
}

/**
 * Last error message and hint that a failed unit has logged; undefined if there is no message in a known format.
 *
 * @param lines argument of journalctl that selects them: "--since=-1min", {@link UnitState.lastRun}
 */
export async function lastLoggedError(
  unit: string,
  lines: string,
): Promise<{ readonly state: string; readonly hint?: string } | undefined> {
  const args = ["--unit", unit, "--output", "cat", "--no-pager", lines];
  const command = new Deno.Command("journalctl", { args, stdin: "null", stderr: "null" });
  const output = await ignore(Deno.errors.NotFound, outputOf(command));
  const logged = (output ?? "").split("\n");
  const at = logged.findLastIndex((line) => ERROR_LINE.test(line));
  const [, general, ofConfiguration] = ERROR_LINE.exec(logged[at] ?? "") ?? [];
  const state = general ?? ofConfiguration;
  const hint = /^hint: (.*)$/.exec(logged[at + 1] ?? "")?.[1];
  return state === undefined ? undefined : { state, ...(hint === undefined ? {} : { hint }) };
}

/**
 * The last lines that a unit's own processes have logged, without systemd's; empty if there are none.
 *
 * @param lines as for {@link lastLoggedError}
 * @param invocation leaves out lines of other runs. journald does not know the run of a line that it reads after the run
 * has ended, as on a busy machine: such lines stay
 */
export async function lastLines(unit: string, lines: string, invocation?: string): Promise<string[]> {
  const fields = "--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID";
  const args = ["--output", "json", fields, "--no-pager", lines, `_SYSTEMD_UNIT=${unit}`];
  const command = new Deno.Command("journalctl", { args, stdin: "null", stderr: "null" });
  const logged = (await ignore(Deno.errors.NotFound, outputOf(command)) ?? "").split("\n").filter((line) =>
    line !== ""
  );
  return logged.map((line) => v.parse(JournalLine, JSON.parse(line)))
    .filter(({ _SYSTEMD_INVOCATION_ID: run = invocation }) => invocation === undefined || run === invocation)
    .flatMap(({ MESSAGE }) => typeof MESSAGE === "string" && MESSAGE.trim() !== "" ? [MESSAGE] : [])
    .slice(-LAST_LINES);
}

/** A line as journalctl prints it; the message is no string where it is no text, or too long. */
const JournalLine = v.object({ MESSAGE: v.optional(v.unknown()), _SYSTEMD_INVOCATION_ID: v.optional(v.string()) });

/** Lines that are enough to see why a program ended. */
const LAST_LINES = 3;

/** Error formats of this program and of dockerd. */
const ERROR_LINE = /^(?:nydus-gd: |failed to start daemon: )(.+)$|^(unable to configure the Docker daemon .+)$/;

async function outputOf(command: Deno.Command): Promise<string> {
  return new TextDecoder().decode((await command.output()).stdout);
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
    const command = new Deno.Command("systemctl", { args, stdin: "null", env: { LC_ALL: "C" }, signal: timeout });
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

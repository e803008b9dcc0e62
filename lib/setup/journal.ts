/**
 * What a unit has logged, read from the journal: why it did not start, or ended.
 *
 * A line is found by its unit and its time. journald looks up the run of a line, `_SYSTEMD_INVOCATION_ID`, when it reads
 * the line; once the run has ended there is nothing to look up, so on a busy machine the last lines of a run, which say
 * why it ended, come without it. The unit is part of the connection, and so is known at any time:
 * systemd.journal-fields(7), systemd's src/journal/journald-context.c.
 *
 * @module
 */
import * as v from "valibot";
import { ignore } from "../base/errors.ts";

/** Which lines of a unit to read. */
export interface LoggedRun {
  /** "docker.service" */
  readonly unit: string;
  /** As `--since` of journalctl has it: "-1min", "@1764275000", "Fri 2026-11-27 20:25:00 UTC". */
  readonly since: string;
  /** The run before, which may still end: its lines are left out where journald knows them. */
  readonly previous?: string;
}

/** Why a unit ended. */
export interface LoggedError {
  /** "Cannot read configuration …: it is not valid JSON" without "Cannot". */
  readonly state: string;
  readonly hint?: string;
}

/** Lines that are read: a unit may have logged for months. */
const READ_LINES = 500;

/** Lines that are enough to see why a program ended. */
const LAST_LINES = 3;

/** Time limit for journald to read what was logged: more lines come in on a busy machine. */
const SYNC_TIMEOUT_MS = 3_000;

/** Error formats of this program and of dockerd. */
const ERROR_LINE = /^(?:nydus-gd: |failed to start daemon: )(.+)$|^(unable to configure the Docker daemon .+)$/;

/** A line as journalctl prints it; the message is no string where it is no text, or too long. */
const JournalLine = v.object({ MESSAGE: v.optional(v.unknown()), _SYSTEMD_INVOCATION_ID: v.optional(v.string()) });

/** The last error message in a known format, with its hint; undefined if there is none. */
export async function lastLoggedError(run: LoggedRun): Promise<LoggedError | undefined> {
  return errorIn(await linesOf(run));
}

/** The last error message; where there is none in a known format, the last lines; undefined if nothing was logged. */
export async function whyItEnded(run: LoggedRun): Promise<LoggedError | undefined> {
  const lines = await linesOf(run);
  const said = errorIn(lines);
  if (said !== undefined || lines.length === 0) return said;
  return { state: lines.slice(-LAST_LINES).join(" | ") };
}

function errorIn(lines: readonly string[]): LoggedError | undefined {
  const at = lines.findLastIndex((line) => ERROR_LINE.test(line));
  const [, general, ofConfiguration] = ERROR_LINE.exec(lines[at] ?? "") ?? [];
  const state = general ?? ofConfiguration;
  const hint = /^hint: (.*)$/.exec(lines[at + 1] ?? "")?.[1];
  return state === undefined ? undefined : { state, ...(hint === undefined ? {} : { hint }) };
}

/** The lines that the unit's own processes have logged, without systemd's; empty where there is no journal. */
async function linesOf({ unit, since, previous }: LoggedRun): Promise<string[]> {
  await journalctl(["--sync"], AbortSignal.timeout(SYNC_TIMEOUT_MS)); // reads what was sent before; only root may ask
  const shape = ["--output=json", "--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID", "--no-pager"];
  const text = await journalctl([...shape, `--lines=${READ_LINES}`, `--since=${since}`, `_SYSTEMD_UNIT=${unit}`]);
  return text.split("\n").filter((line) => line !== "").map((line) => v.parse(JournalLine, JSON.parse(line)))
    .filter(({ _SYSTEMD_INVOCATION_ID: run }) => run === undefined || run !== previous)
    .flatMap(({ MESSAGE }) => typeof MESSAGE === "string" && MESSAGE.trim() !== "" ? [MESSAGE] : []);
}

/** Output of journalctl; empty where it is not installed. */
async function journalctl(args: string[], signal = new AbortController().signal): Promise<string> {
  const command = new Deno.Command("journalctl", { args, stdin: "null", stderr: "null", signal });
  const output = await ignore(Deno.errors.NotFound, command.output());
  return new TextDecoder().decode(output?.stdout);
}

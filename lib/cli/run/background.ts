/**
 * Implements `nydus-gd mount --background`: the same mount in a separate process, detached from the terminal.
 *
 * The child's line of output signals that the mount is usable. If it exits without one, it has failed: its standard
 * error is shown here, and its exit status is returned, or the signal is named that ended it. Its log is in the state
 * folder, which is removed with the mount.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { selfCommand } from "../../base/self_command.ts";
import { makeStateFolder, MountState, settleState } from "../../image/mount/mount_state.ts";
import type { ActionContext } from "../actions.ts";

/**
 * How long to wait for the state folder's lock after the process has exited; needed only for a race with another
 * process.
 */
const SETTLE_TIMEOUT_MS = 1_000;

/** Shell script that appends standard error to the log. */
const REDIRECT = 'log=$1; shift; exec "$@" 2>>"$log"';

/**
 * Starts `nydus-gd ARGS`, which mounts on `dir`, and returns once the mount is usable.
 *
 * @returns exit status
 * @throws {NydusGdError} as {@link MountState.take}
 */
export async function startInBackground(
  args: readonly string[],
  dir: string,
  { stdout, stderr, signal }: ActionContext,
): Promise<number> {
  const { place, logPath } = await prepare(dir);
  // opened now, since a failing process removes its folder
  using log = await Deno.open(logPath, { create: true, append: true, read: true, mode: 0o600 });
  const child = new Deno.Command("sh", {
    args: ["-c", REDIRECT, "sh", logPath, ...selfCommand(), ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    detached: true,
  }).spawn();
  const stop = () => child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  try {
    const line = await firstLine(child.stdout);
    if (line !== undefined) {
      stdout.write(`${line}, process ${child.pid}, log ${logPath}\n`);
      child.unref();
      return 0;
    }
    const { code, signal: killedBy } = await child.status;
    stderr.write(await new Response(log.readable).text());
    await settleState(place, SETTLE_TIMEOUT_MS);
    if (killedBy !== null) throw killed(dir, killedBy);
    return code;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** The server could not say anything. */
function killed(dir: string, killedBy: Deno.Signal): NydusGdError {
  return new NydusGdError("environment", `Cannot mount on ${dir}: its server was ended by ${killedBy}`, {
    hint: killedBy === "SIGKILL" ? "dmesg tells whether the kernel ran out of memory for it" : "nydus-gd doctor",
  });
}

/** Does the checks of a mount before starting a process, and creates the state folder. */
async function prepare(dir: string): Promise<{ place: string; logPath: string }> {
  const state = await MountState.take(dir);
  await state[Symbol.asyncDispose]();
  await makeStateFolder(state.path);
  return { place: state.dir, logPath: `${state.path}/log` };
}

/** Reads the first line without its end; undefined if the stream ends before. Reads nothing after it. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return undefined;
    text += value;
    const end = text.indexOf("\n");
    if (end < 0) continue;
    await reader.cancel();
    return text.slice(0, end);
  }
}

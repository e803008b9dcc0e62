/**
 * Implements `nydus-gd status`.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { formatPath, parseWith } from "../../base/schema.ts";
import { StatusDocument } from "../../image/lazy/report/status_document.ts";
import type { ActionContext, Output, StatusArgs } from "../actions.ts";
import { askStatus } from "../admin_client.ts";
import { fitted, oneLine } from "../output.ts";
import { statusLines } from "../status_text.ts";

const INTERVAL_MS = 1000;

/** Terminal sequences: cursor home; erase to the end of the line; erase below; clear. */
const HOME = "\x1b[H", END_LINE = "\x1b[K", BELOW = "\x1b[J", CLEAR = "\x1b[2J";

/** Shows the status once, or with `watch` until the signal. */
export async function status({ adminSocket, output, watch }: StatusArgs, context: ActionContext): Promise<void> {
  const { signal, stdout } = context;
  if (watch) {
    const refused = (state: string) =>
      new NydusGdError("usage", `Cannot watch status: ${state}`, { hint: "nydus-gd status -o json" });
    if (output === "json") throw refused("-o json gives one document");
    if (!stdout.isTerminal) throw refused("standard output is not a terminal");
    return await watchStatus(adminSocket, stdout, signal);
  }
  const document = await askStatus(adminSocket, signal);
  if (output === "json") stdout.write(`${JSON.stringify(document)}\n`);
  else stdout.write(linesFor(stdout, document).map((line) => `${line}\n`).join(""));
}

/**
 * Redraws the status. Waits for a daemon that stops responding, which may be restarting; the first request must
 * succeed.
 */
async function watchStatus(socket: string, stdout: Output, signal: AbortSignal): Promise<void> {
  const look = async () => linesFor(stdout, await askStatus(socket, signal));
  try {
    let lines = await look();
    stdout.write(CLEAR);
    for (;;) {
      stdout.write(HOME + fitted(lines, stdout).map((line) => `${line}${END_LINE}\n`).join("") + BELOW);
      await sleep(INTERVAL_MS, undefined, { signal });
      lines = await look().catch((error) => {
        if (signal.aborted) throw error;
        return [oneLine(messageOf(error))];
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function linesFor({ size }: Output, document: unknown): string[] {
  return statusLines(understood(document), size && size.columns - 1);
}

function understood(document: unknown): StatusDocument {
  const parsed = parseWith(StatusDocument, document);
  if (parsed.ok) return parsed.value;
  const state = `${formatPath(parsed.path)} ${parsed.state}`;
  throw new NydusGdError("unavailable", `Cannot read the daemon's status: ${state}`, {
    hint: "the daemon may be of another version: systemctl restart nydus-gd",
  });
}

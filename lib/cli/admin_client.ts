/**
 * Asks a running daemon through its admin socket.
 *
 * @module
 */
import * as v from "valibot";
import { Deadline, interruption } from "../base/abort.ts";
import { isErrorCode, messageOf, NydusGdError } from "../base/errors.ts";
import { parseJsonText } from "../base/json_text.ts";
import { parseWith } from "../base/schema.ts";
import { askOverUnix, unixErrorCode, type UnixRequest } from "../base/unix_http.ts";

/** How long the daemon may take to answer. */
const ANSWER_TIMEOUT_MS = 10_000;

/** No daemon listens at a socket. */
export class DaemonAbsent extends NydusGdError {}

/** What is asked of the daemon. */
export interface DaemonRequest extends UnixRequest {
  /** How long the answer may take; {@link ANSWER_TIMEOUT_MS} unless given. */
  readonly timeoutMs?: number;
}

const Refusal = v.object({
  error: v.object({ code: v.string(), message: v.string(), hint: v.optional(v.string()) }),
});

/**
 * The JSON document of a GET.
 *
 * @param socket path of the admin socket
 * @param path "/v1/status"
 * @throws as {@link tellDaemon}
 */
export function askDaemon(socket: string, path: string, signal: AbortSignal): Promise<unknown> {
  return tellDaemon(socket, { method: "GET", path }, signal);
}

/**
 * The JSON document that the daemon answers with; undefined for an empty answer.
 *
 * @throws {NydusGdError} "unavailable" when no daemon answers as one does; what the daemon itself refuses
 */
export async function tellDaemon(socket: string, request: DaemonRequest, signal: AbortSignal): Promise<unknown> {
  const { path, timeoutMs = ANSWER_TIMEOUT_MS } = request;
  const late = () => refusal(socket, `no answer within ${timeoutMs} ms`, "systemctl restart nydus-gd");
  using deadline = new Deadline(timeoutMs, signal, late);
  try {
    const { status, text } = await askOverUnix(socket, request, deadline.signal);
    if (status >= 200 && status < 300) return text === "" ? undefined : JSON.parse(text);
    throw refusedByDaemon(text) ?? refusal(socket, `it answers ${path} with HTTP ${status}`, "nydus-gd version");
  } catch (error) {
    if (deadline.signal.aborted) throw interruption(deadline.signal);
    if (error instanceof NydusGdError) throw error;
    throw unreachable(socket, error);
  }
}

/** The daemon's own error, where that is what it answered with. */
function refusedByDaemon(text: string): NydusGdError | undefined {
  const parsed = parseWith(Refusal, parseJsonText(text));
  if (!parsed.ok || !parsed.value.error.message.startsWith("Cannot ")) return undefined;
  const { code, message, hint } = parsed.value.error;
  return new NydusGdError(isErrorCode(code) ? code : "unavailable", message, hint === undefined ? {} : { hint });
}

function unreachable(socket: string, error: unknown): NydusGdError {
  switch (unixErrorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return absent(socket, "there is no such socket");
    case "ECONNREFUSED":
      return absent(socket, "the socket was left by one that ended");
    case "EACCES":
    case "EPERM":
      return refusal(socket, "only root may", "sudo nydus-gd …");
    default:
      return refusal(socket, `${error instanceof SyntaxError ? "its answer is no JSON: " : ""}${messageOf(error)}`);
  }
}

function absent(socket: string, why: string): DaemonAbsent {
  const message = `Cannot ask the daemon at ${socket}: no daemon answers, ${why}`;
  return new DaemonAbsent("unavailable", message, { hint: "systemctl start nydus-gd" });
}

function refusal(socket: string, state: string, hint?: string): NydusGdError {
  return new NydusGdError("unavailable", `Cannot ask the daemon at ${socket}: ${state}`, hint ? { hint } : {});
}

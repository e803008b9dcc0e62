/**
 * Client of a running daemon's admin API.
 *
 * @module
 */
import * as v from "valibot";
import { Deadline, interruption } from "../base/abort.ts";
import { isErrorCode, messageOf, NydusGdError } from "../base/errors.ts";
import { parseJsonText } from "../base/json_text.ts";
import { parseWith } from "../base/schema.ts";
import { askOverUnix, unixErrorCode, type UnixRequest } from "../base/unix_http.ts";

/** Default timeout of a response. */
const ANSWER_TIMEOUT_MS = 10_000;

/** No daemon listens on the socket. */
export class DaemonAbsent extends NydusGdError {}

/** A request to the daemon. */
export interface DaemonRequest extends UnixRequest {
  /** Timeout of the response. Default: {@link ANSWER_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
}

const Refusal = v.object({
  error: v.object({ code: v.string(), message: v.string(), hint: v.optional(v.string()) }),
});

/**
 * Requests the daemon's status and returns the JSON document.
 *
 * @param socket path of the admin socket
 * @throws as {@link tellDaemon}
 */
export function askStatus(socket: string, signal: AbortSignal): Promise<unknown> {
  return tellDaemon(socket, { method: "GET", path: "/v1/status" }, signal);
}

/**
 * Sends a request and returns the JSON document of the response; undefined for an empty response.
 *
 * @throws {NydusGdError} "unavailable" if no daemon responds or its response is malformed; the daemon's own errors
 */
export async function tellDaemon(socket: string, request: DaemonRequest, signal: AbortSignal): Promise<unknown> {
  const { path, timeoutMs = ANSWER_TIMEOUT_MS } = request;
  const timeoutError = () => refusal(socket, `no answer within ${timeoutMs} ms`, "systemctl restart nydus-gd");
  using deadline = new Deadline(timeoutMs, signal, timeoutError);
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

/** Returns the daemon's own error, if the response contains one. */
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
      return absent(socket, "the socket was left behind by a daemon that exited");
    case "EACCES":
    case "EPERM":
      return refusal(socket, "only root has access", "sudo nydus-gd …");
    default:
      return refusal(socket, `${error instanceof SyntaxError ? "its response is not JSON: " : ""}${messageOf(error)}`);
  }
}

function absent(socket: string, why: string): DaemonAbsent {
  const message = `Cannot query the daemon at ${socket}: no daemon answers, ${why}`;
  return new DaemonAbsent("unavailable", message, { hint: "systemctl start nydus-gd" });
}

function refusal(socket: string, state: string, hint?: string): NydusGdError {
  return new NydusGdError("unavailable", `Cannot query the daemon at ${socket}: ${state}`, hint ? { hint } : {});
}

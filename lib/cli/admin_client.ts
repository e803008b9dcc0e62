/**
 * Asks a running daemon through its admin socket.
 *
 * @module
 */
import { Deadline, interruption } from "../base/abort.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { getOverUnix, unixErrorCode } from "../base/unix_http.ts";

/** How long the daemon may take to answer. */
const ANSWER_TIMEOUT_MS = 10_000;

/**
 * The JSON document of a GET.
 *
 * @param socket path of the admin socket
 * @param path "/v1/status"
 * @throws {NydusGdError} "unavailable" when no daemon answers as one does
 */
export async function askDaemon(socket: string, path: string, signal: AbortSignal): Promise<unknown> {
  const late = () => refusal(socket, `no answer within ${ANSWER_TIMEOUT_MS} ms`, "systemctl restart nydus-gd");
  using deadline = new Deadline(ANSWER_TIMEOUT_MS, signal, late);
  try {
    const { status, text } = await getOverUnix(socket, path, deadline.signal);
    if (status !== 200) throw refusal(socket, `it answers ${path} with HTTP ${status}`, "nydus-gd version");
    return JSON.parse(text);
  } catch (error) {
    if (deadline.signal.aborted) throw interruption(deadline.signal);
    if (error instanceof NydusGdError) throw error;
    throw unreachable(socket, error);
  }
}

function unreachable(socket: string, error: unknown): NydusGdError {
  switch (unixErrorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return refusal(socket, "no daemon answers, there is no such socket", "systemctl start nydus-gd");
    case "ECONNREFUSED":
      return refusal(socket, "no daemon answers, the socket was left by one that ended", "systemctl start nydus-gd");
    case "EACCES":
    case "EPERM":
      return refusal(socket, "only root may", "sudo nydus-gd status");
    default:
      return refusal(socket, `${error instanceof SyntaxError ? "its answer is no JSON: " : ""}${messageOf(error)}`);
  }
}

function refusal(socket: string, state: string, hint?: string): NydusGdError {
  return new NydusGdError("unavailable", `Cannot ask the daemon at ${socket}: ${state}`, hint ? { hint } : {});
}

/**
 * A single HTTP request over a unix socket.
 *
 * Uses node:http, whose errors have a code that tells why there is no answer: ENOENT no socket, ECONNREFUSED a stale
 * socket of a dead process, EACCES no permission.
 *
 * @module
 */
import { nodeHttp } from "./node_modules.ts";

const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

/** A response. */
export interface UnixResponse {
  readonly status: number;
  readonly text: string;
}

/** A request. */
export interface UnixRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** "/v1/status". */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** Sends `GET path` and returns the response, whatever its status. @throws as {@link askOverUnix} */
export function getOverUnix(socketPath: string, path: string, signal: AbortSignal): Promise<UnixResponse> {
  return askOverUnix(socketPath, { method: "GET", path }, signal);
}

/**
 * Sends a request and returns the response, whatever its status.
 *
 * @throws {Error} with the `code` of node:http; the signal's reason is its `cause`
 */
export function askOverUnix(
  socketPath: string,
  { method, path, body }: UnixRequest,
  signal: AbortSignal,
): Promise<UnixResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<UnixResponse>();
  const sent = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
  const length = sent === undefined ? {} : { "content-type": "application/json", "content-length": sent.length };
  const headers = { host: "localhost", connection: "close", ...length };
  const request = nodeHttp().request({ socketPath, method, path, signal, headers });
  request.on("error", reject);
  request.on("response", (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (more: string) => {
      text += more;
      if (text.length > MAX_RESPONSE_BYTES) response.destroy(new RangeError("the answer has no end"));
    });
    response.on("error", reject);
    response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
  });
  request.end(sent);
  return promise;
}

/** Error code of a failed {@link askOverUnix}, such as "ECONNREFUSED"; undefined if it has none. */
export function unixErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

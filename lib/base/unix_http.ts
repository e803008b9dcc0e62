/**
 * One GET over HTTP on a unix socket.
 *
 * node:http, as its errors tell by a code why nobody answers: ENOENT no socket, ECONNREFUSED a socket that a dead process
 * left, EACCES no permission.
 *
 * @module
 */
import http from "node:http";

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** What came back. */
export interface UnixAnswer {
  readonly status: number;
  readonly text: string;
}

/**
 * The answer to `GET path`, whatever its status.
 *
 * @throws {Error} with the `code` of node:http; the signal's reason is its `cause`
 */
export function getOverUnix(socketPath: string, path: string, signal: AbortSignal): Promise<UnixAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<UnixAnswer>();
  const request = http.get({ socketPath, path, signal, headers: { host: "localhost", connection: "close" } });
  request.on("error", reject);
  request.on("response", (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (more: string) => {
      text += more;
      if (text.length > MAX_ANSWER_BYTES) response.destroy(new RangeError("the answer has no end"));
    });
    response.on("error", reject);
    response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
  });
  return promise;
}

/** Why {@link getOverUnix} got no answer: a code such as "ECONNREFUSED", undefined where there is none. */
export function unixErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/**
 * Responses in dockerd's format, and the only place where an error becomes `{"Err": …}`.
 *
 * @module
 */
import { logger } from "../../lib/base/log.ts";
import { describeError } from "../../lib/base/error_report.ts";
import { PLUGIN_MEDIA_TYPE } from "./protocol.ts";

const log = logger("docker");

/** A response with one JSON document. */
export function jsonResponse(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value) + "\n", { status, headers: { "content-type": PLUGIN_MEDIA_TYPE } });
}

/**
 * The response to a failed call. dockerd shows the text to its user, so it includes the hint.
 *
 * @param status 200 wherever dockerd checks Err, because it then shows only the text. Diff needs another status:
 * dockerd reads any 200 as the tar
 */
export function errorResponse(method: string, error: unknown, status = 200): Response {
  const { message: text, hint } = describeError(error);
  log.warn("call failed", { method, reason: text });
  return jsonResponse({ Err: hint === undefined ? text : `${text} (hint: ${hint})` }, status);
}

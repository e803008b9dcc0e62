/**
 * Answers as dockerd reads them, and the one place where an error becomes `{"Err": …}`.
 *
 * @module
 */
import { logger } from "../../lib/base/log.ts";
import { toldError } from "../../lib/base/told_error.ts";
import { PLUGIN_MEDIA_TYPE } from "./protocol.ts";

const log = logger("docker");

/** An answer of one JSON document. */
export function answer(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value) + "\n", { status, headers: { "content-type": PLUGIN_MEDIA_TYPE } });
}

/**
 * The answer to a call that failed. dockerd shows the text to its user, so the hint is in it.
 *
 * @param status 200 wherever dockerd looks for Err, because it shows the text alone then. A Diff must have another: a 200
 * is read as the tar, whatever it says
 */
export function failure(method: string, error: unknown, status = 200): Response {
  const { message: text, hint } = toldError(error);
  log.warn("call failed", { method, reason: text });
  return answer({ Err: hint === undefined ? text : `${text} (hint: ${hint})` }, status);
}

/**
 * The two calls that carry a tar: ApplyDiff receives one, Diff returns one.
 *
 * @module
 */
import type { GraphDriver } from "./driver.ts";
import { DiffSchema, MAX_REQUEST_BYTES, parseRequest } from "./protocol.ts";
import { drain, emptyBody, readBody } from "./request_body.ts";
import { errorResponse, jsonResponse } from "./responses.ts";

/** How long to read the rest of a refused layer before closing the connection. */
const DRAIN_TIMEOUT_MS = 60_000;

const TAR_MEDIA_TYPE = "application/x-tar";

/** GraphDriver.ApplyDiff: the layer's id is in the query, the body is the uncompressed tar. */
export async function applyDiff(driver: GraphDriver, request: Request): Promise<Response> {
  const body = request.body ?? emptyBody();
  try {
    const id = queryOf(request.url).get("id") ?? "";
    return jsonResponse({ Size: await driver.store.applyDiff(id, body) });
  } catch (error) {
    await drain(body, DRAIN_TIMEOUT_MS);
    return errorResponse("GraphDriver.ApplyDiff", error);
  }
}

/** The query of a URL whose other parts may be invalid: dockerd's Host header is not always a host name. */
function queryOf(url: string): URLSearchParams {
  const question = url.indexOf("?");
  return new URLSearchParams(question < 0 ? "" : url.slice(question + 1));
}

/** GraphDriver.Diff: returns the tar, or a status other than 200. A later failure aborts the connection. */
export async function diff(driver: GraphDriver, request: Request): Promise<Response> {
  try {
    const body = await readBody(request.body, MAX_REQUEST_BYTES);
    const { ID, Parent } = parseRequest("GraphDriver.Diff", DiffSchema, body);
    return new Response(await driver.store.diff(ID, Parent), { headers: { "content-type": TAR_MEDIA_TYPE } });
  } catch (error) {
    return errorResponse("GraphDriver.Diff", error, 500);
  }
}

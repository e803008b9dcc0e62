/**
 * Refuses responses whose body is not what was asked for, but a compression of it. Requests ask for "identity"
 * (request_bytes.ts), which some intermediaries ignore. Source: RFC 9110 section 8.4.
 *
 * @module
 */
import type { HttpResponse } from "./http_response.ts";
import { invalidResponse } from "./transfer_error.ts";

/** @throws {TransferError} "unavailable", transient, for a response with a Content-Encoding */
export function requirePlain(response: HttpResponse): void {
  const encoding = response.header("content-encoding") ?? "identity";
  if (encoding !== "identity") throw invalidResponse(`the answer has Content-Encoding ${encoding.slice(0, 40)}`);
}

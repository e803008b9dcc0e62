/**
 * Bodies of requests to the admin endpoint.
 *
 * @module
 */
import { NydusGdError } from "../../lib/base/errors.ts";
import { parseJsonText } from "../../lib/base/json_text.ts";

/** A body as JSON. @throws {NydusGdError} "usage"; it quotes nothing of the body, which may hold a login */
export function parseBody(text: string): unknown {
  const document = parseJsonText(text);
  if (document !== undefined) return document;
  throw new NydusGdError("usage", "Cannot read request: its body is no valid JSON");
}

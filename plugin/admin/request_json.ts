/**
 * Request bodies of the admin API.
 *
 * @module
 */
import { NydusGdError } from "../../lib/base/errors.ts";
import { parseJsonText } from "../../lib/base/json_text.ts";

/** Parses a body as JSON. @throws {NydusGdError} "usage"; never quotes the body, which may contain credentials */
export function parseBody(text: string): unknown {
  const document = parseJsonText(text);
  if (document !== undefined) return document;
  throw new NydusGdError("usage", "Cannot read request: its body is not valid JSON");
}

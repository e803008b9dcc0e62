/**
 * Parser of dockerd's progress stream for pull and load: one JSON object per line, the last of which may be an error.
 *
 * ```
 * {"status":"Downloading","id":"f2a1…","progressDetail":{"current":1048576,"total":49103123}}
 * {"errorDetail":{"message":"…"},"error":"…"}
 * ```
 * The status is 200 before the work starts, so a failure shows only in the stream. Source: moby pkg/jsonmessage.
 *
 * @module
 */
import * as v from "valibot";
import type { HttpResponse } from "../../backend/http/http_response.ts";
import { type ErrorCode, NydusGdError } from "../../base/errors.ts";
import { parseJsonText } from "../../base/json_text.ts";
import { parseWith } from "../../base/schema.ts";

/** A progress message. */
export interface PullStep {
  /** Short digest of a layer; undefined for messages about the whole image. */
  readonly layer: string | undefined;
  /** "Downloading", "Pull complete". */
  readonly status: string;
  /** Progress in bytes, if reported. */
  readonly current: number | undefined;
  readonly total: number | undefined;
}

const Message = v.object({
  status: v.optional(v.string()),
  id: v.optional(v.string()),
  progressDetail: v.optional(v.nullable(v.object({ current: v.optional(v.number()), total: v.optional(v.number()) }))),
  error: v.optional(v.string()),
  errorDetail: v.optional(v.nullable(v.object({ message: v.optional(v.string()) }))),
});

/** Maximum length of a line in characters. */
const MAX_LINE = 1 << 20;

/**
 * Reads the stream to its end.
 *
 * @param what completes "Cannot …"
 * @throws {NydusGdError} with dockerd's error: "not-found", "unauthorized", else "unavailable"
 */
export async function readProgress(
  response: HttpResponse,
  what: string,
  onStep: (step: PullStep) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let open = "";
  const take = (text: string) => {
    const lines = (open + text).split("\n");
    open = lines.pop() ?? "";
    if (open.length > MAX_LINE) throw new NydusGdError("unavailable", `Cannot ${what}: Docker's answer has no end`);
    for (const step of lines.map((line) => parseStep(line, what))) if (step !== undefined) onStep(step);
  };
  await response.each((piece) => take(decoder.decode(piece, { stream: true })));
  take("\n");
}

/**
 * Parses a line; undefined for an unknown form, which later Docker versions may add.
 *
 * @throws {NydusGdError} for an error message
 */
export function parseStep(line: string, what: string): PullStep | undefined {
  const parsed = parseWith(Message, parseJsonText(line));
  if (!parsed.ok) return undefined;
  const { status, id, progressDetail, error, errorDetail } = parsed.value;
  const failure = errorDetail?.message ?? error;
  if (failure !== undefined) throw new NydusGdError(codeOf(failure), `Cannot ${what}: ${failure}`);
  if (status === undefined) return undefined;
  return { layer: id, status, current: progressDetail?.current, total: progressDetail?.total };
}

/** Derives the code from the message; dockerd sends no code. */
function codeOf(message: string): ErrorCode {
  if (/unauthorized|denied|no basic auth/i.test(message)) return "unauthorized";
  return /not found|unknown|no matching manifest/i.test(message) ? "not-found" : "unavailable";
}

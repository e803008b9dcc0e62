/**
 * Range requests, whose response must hold exactly the requested range.
 *
 * A 206 with another Content-Range, or with a shorter or longer body, is a transient error. A 200 is cut to the range
 * if that is cheap. Source: RFC 9110 section 14.
 *
 * @module
 */
import type { Growth } from "../blob_source.ts";
import { requirePlain } from "./content_encoding.ts";
import { parseContentRange } from "./content_range.ts";
import type { HttpResponse } from "./http_response.ts";
import { invalidResponse, rangesIgnored, type TransferError } from "./transfer_error.ts";

/**
 * Returns the value of a Range header.
 *
 * @throws {RangeError} for an empty or invalid range: a bug of the caller
 */
export function rangeHeader(offset: number, length: number): string {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 1) {
    throw new RangeError(`Cannot ask for ${length} bytes at ${offset}: not a range`);
  }
  return `bytes=${offset}-${offset + length - 1}`;
}

/** Returns the size of the whole blob, from a response with or without a range. */
export function totalSize(response: HttpResponse): number {
  const total = response.status === 206
    ? parseContentRange(response.header("content-range") ?? "")?.total
    : response.contentLength;
  if (total === undefined) throw invalidResponse("the server does not report its size");
  return total;
}

/** Maximum bytes to skip before the range if a server sends the whole blob. */
const MAX_SKIP_BYTES = 4 << 20;

/**
 * Reads the bytes of `Range: bytes=<offset>-<offset + length - 1>` from a response below 300.
 *
 * @throws {TransferError} "unavailable"; permanent for a whole blob that would have to be skipped up to the range
 */
export function readRange(
  response: HttpResponse,
  offset: number,
  length: number,
  growth: Growth,
): Promise<Uint8Array> {
  const { status } = response;
  requirePlain(response);
  if (status === 206) {
    requireRange(response, offset, length);
    return response.exact(length, growth);
  }
  if (status !== 200) throw invalidResponse(`HTTP ${status} from ${response.server}, expected 206`);
  const total = response.contentLength;
  if (total === undefined) throw invalidResponse(`${response.server} ignores ranges`);
  if (offset > MAX_SKIP_BYTES) throw rangesIgnored(response.server, total);
  if (total < offset + length) {
    throw invalidResponse(`asked for bytes ${offset}-${offset + length - 1}, got HTTP 200 with ${total} bytes`);
  }
  return response.slice(offset, length, growth);
}

/**
 * Yields the bytes from `offset` to the end of a blob of `size` bytes, from a response below 300. What comes before
 * them is skipped if the server ignores ranges.
 *
 * @throws {TransferError} "unavailable", transient
 */
export async function* readRest(response: HttpResponse, offset: number, size: number): AsyncGenerator<Uint8Array> {
  const { status, contentLength } = response;
  requirePlain(response);
  if (status === 206) requireRange(response, offset, size - offset);
  else if (status !== 200) throw invalidResponse(`HTTP ${status} from ${response.server}, expected 200`);
  let at = status === 206 ? offset : 0;
  if (contentLength !== undefined && contentLength !== size - at) throw wrongLength(contentLength, size - at);
  for await (const piece of response.pieces()) {
    const wanted = piece.subarray(Math.max(0, offset - at));
    at += piece.length;
    if (at > size) throw invalidResponse(`the answer is longer than the ${size} bytes of the blob`);
    if (wanted.length > 0) yield wanted;
  }
  if (at < size) throw wrongLength(at, size);
}

function wrongLength(bytes: number, expected: number): TransferError {
  return invalidResponse(`the answer has ${bytes} bytes, not ${expected}`);
}

/** Requires that a 206 is about these bytes. */
function requireRange(response: HttpResponse, offset: number, length: number): void {
  const header = response.header("content-range");
  const range = parseContentRange(header ?? "");
  if (range?.first === offset && range.last === offset + length - 1) return;
  const got = header === undefined ? "no Content-Range" : `Content-Range ${JSON.stringify(header.slice(0, 60))}`;
  throw invalidResponse(`asked for bytes ${offset}-${offset + length - 1}, got ${got}`);
}

/**
 * HTTP statuses of registries and token servers as errors.
 *
 * @module
 */
import type { HttpResponse } from "./http_response.ts";
import { parseRetryAfter } from "./retry.ts";
import { TransferError } from "./transfer_error.ts";

/** Bytes of an error's body that are looked at. */
const MAX_ERROR_BYTES = 64 * 1024;

/** The error that a status stands for, with the registry's own code where it gave one. Reads the body. */
export async function statusError(response: HttpResponse): Promise<TransferError> {
  return errorOfStatus(response, registryCode(await errorBody(response)));
}

/** The same for a body that was read. @param code what the body says, in one word */
export function errorOfStatus(response: HttpResponse, code: string | undefined): TransferError {
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.header("retry-after"));
  const state = `HTTP ${status}${code === undefined ? "" : ` ${code}`} from ${response.server}`;
  if (status === 401 || status === 403) {
    return new TransferError("unauthorized", state, { prospect: "permanent", status });
  }
  if (status === 404 || status === 410) return new TransferError("not-found", state, { prospect: "permanent", status });
  const isTransient = status === 408 || status === 425 || status === 429 || status >= 500;
  return new TransferError("unavailable", state, {
    prospect: isTransient ? "transient" : "permanent",
    status,
    retryAfterMs,
  });
}

/** What a server says beside a status, empty where that cannot be had. It may hold anything, secrets too. */
export async function errorBody(response: HttpResponse): Promise<string> {
  try {
    return await response.text(MAX_ERROR_BYTES);
  } catch (error) {
    // The status is the news; a body that cannot be read has none to add.
    if (error instanceof TransferError) return "";
    throw error;
  }
}

/** The code of `{"errors": [{"code": "BLOB_UNKNOWN"}]}`. Its message may hold anything and is left out. */
function registryCode(body: string): string | undefined {
  return /"code"\s*:\s*"([A-Z][A-Z_]{2,40})"/.exec(body)?.[1];
}

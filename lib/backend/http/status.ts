/**
 * Translates HTTP statuses of registries and token servers into errors.
 *
 * @module
 */
import type { HttpResponse } from "./http_response.ts";
import { parseRetryAfter } from "./retry.ts";
import { TransferError } from "./transfer_error.ts";

/** Maximum bytes of an error's body that are examined. */
const MAX_ERROR_BYTES = 64 * 1024;

/** What to do about a registry's error code: distribution specification, "Error Codes". */
const HINTS = new Map([
  ["MANIFEST_UNKNOWN", "correct the tag or digest, or push the image"],
  ["NAME_UNKNOWN", "correct the name of the repository, or push the image"],
  ["MANIFEST_BLOB_UNKNOWN", "push again: the registry has lost, or does not show yet, what the manifest refers to"],
]);

/** A manifest was pushed before all servers of the registry show what it refers to. */
const NOT_YET = "MANIFEST_BLOB_UNKNOWN";

/** Returns the error for a response, including the registry's own error code if there is one. Reads the body. */
export async function statusError(response: HttpResponse): Promise<TransferError> {
  return errorOfStatus(response, registryCode(await errorBody(response)));
}

/** Returns the error for a response whose body has been read. @param code error code found in the body */
export function errorOfStatus(response: HttpResponse, code: string | undefined): TransferError {
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.header("retry-after"));
  const state = `HTTP ${status}${code === undefined ? "" : ` ${code}`} from ${response.server}`;
  if (status === 401 || status === 403) {
    return new TransferError("unauthorized", state, { prospect: "permanent", status });
  }
  const hint = retryAfterMs
    ? `try again in ${Math.ceil(retryAfterMs / 1000)} s, as the server asks`
    : HINTS.get(code ?? "");
  const details = { status, ...(hint === undefined ? {} : { hint }) };
  if ((status === 404 || status === 410) && code !== NOT_YET) {
    return new TransferError("not-found", state, { prospect: "permanent", ...details });
  }
  const isTransient = status === 408 || status === 425 || status === 429 || status >= 500 || code === NOT_YET;
  return new TransferError("unavailable", state, {
    prospect: isTransient ? "transient" : "permanent",
    retryAfterMs,
    ...details,
  });
}

/** Reads the body of an error response; empty if it cannot be read. It may contain anything, including secrets. */
export async function errorBody(response: HttpResponse): Promise<string> {
  try {
    return await response.text(MAX_ERROR_BYTES);
  } catch (error) {
    // The status is what matters; an unreadable body adds nothing.
    if (error instanceof TransferError) return "";
    throw error;
  }
}

/** Extracts the code of `{"errors": [{"code": "BLOB_UNKNOWN"}]}`. The message may contain anything and is dropped. */
function registryCode(body: string): string | undefined {
  return /"code"\s*:\s*"([A-Z][A-Z_]{2,40})"/.exec(body)?.[1];
}

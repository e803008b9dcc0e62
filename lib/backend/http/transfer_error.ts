/**
 * The error of a failed request, which says whether a retry can help.
 *
 * Messages name hosts, never headers or URLs with their queries: a presigned URL or an echoed token is a secret.
 *
 * @module
 */
import { type ErrorCode, type ErrorDetails, NydusGdError } from "../../base/errors.ts";

/** "transient": the same request may succeed later. "permanent": it will not. */
export type Prospect = "transient" | "permanent";

/** Properties of a {@link TransferError} besides its message. */
export interface TransferDetails extends ErrorDetails {
  readonly prospect: Prospect;
  /** How long the server asked us to wait. */
  readonly retryAfterMs?: number | undefined;
  /** The peer does not speak TLS on this port. */
  readonly notTls?: boolean;
  /** HTTP status, if there was a response. */
  readonly status?: number;
  /** Size of the blob if the server sent all of it in place of a range. */
  readonly wholeBytes?: number | undefined;
}

/**
 * The state of one failed request: "connect timed out after 5000 ms", "HTTP 503". The caller adds its purpose with
 * `of`.
 */
export class TransferError extends NydusGdError {
  readonly state: string;
  /** The purpose of the request, completing "Cannot …". */
  readonly what: string;
  readonly prospect: Prospect;
  readonly retryAfterMs: number | undefined;
  readonly notTls: boolean;
  readonly status: number | undefined;
  readonly wholeBytes: number | undefined;

  constructor(code: ErrorCode, state: string, details: TransferDetails, what = "transfer") {
    super(code, `Cannot ${what}: ${state}`, details);
    this.state = state;
    this.what = what;
    this.prospect = details.prospect;
    this.retryAfterMs = details.retryAfterMs;
    this.notTls = details.notTls ?? false;
    this.status = details.status;
    this.wholeBytes = details.wholeBytes;
  }

  /** Returns the same failure with the purpose `what`: "read blob 3f2a… from registry localhost:5000/app". */
  of(what: string): TransferError {
    const { state, prospect, retryAfterMs, notTls, status, wholeBytes, hint } = this;
    const optional = { ...(hint === undefined ? {} : { hint }), ...(status === undefined ? {} : { status }) };
    return new TransferError(
      this.code,
      state,
      { prospect, retryAfterMs, notTls, wholeBytes, ...optional, cause: this },
      what,
    );
  }
}

/**
 * The error for a response that violates HTTP or the registry protocol. Transient, since an intermediary usually causes
 * it.
 */
export function invalidResponse(state: string): TransferError {
  return new TransferError("unavailable", state, { prospect: "transient" });
}

/** The error for a server that sends a whole blob in place of a range. */
export function rangesIgnored(server: string, wholeBytes: number): TransferError {
  return new TransferError("unavailable", `${server} ignores ranges`, { prospect: "permanent", wholeBytes });
}

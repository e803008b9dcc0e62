/**
 * A request that did not give what was asked for, and whether asking again can help.
 *
 * Messages name hosts, never URLs with their queries and never headers: a presigned URL or an echoed token is a secret.
 *
 * @module
 */
import { type ErrorCode, type ErrorDetails, NydusGdError } from "../../base/errors.ts";

/** "transient": the same request may succeed. "permanent": it will not. */
export type Prospect = "transient" | "permanent";

/** What a {@link TransferError} takes beside its words. */
export interface TransferDetails extends ErrorDetails {
  readonly prospect: Prospect;
  /** How long the server asked us to stay away. */
  readonly retryAfterMs?: number | undefined;
  /** The peer does not speak TLS on this port. */
  readonly notTls?: boolean;
  /** HTTP status, where there was an answer. */
  readonly status?: number;
}

/** The state of one failed request: "connect timed out after 5000 ms", "HTTP 503". The caller adds what it was for. */
export class TransferError extends NydusGdError {
  readonly state: string;
  /** What it was for: completes "Cannot …". */
  readonly what: string;
  readonly prospect: Prospect;
  readonly retryAfterMs: number | undefined;
  readonly notTls: boolean;
  readonly status: number | undefined;

  constructor(code: ErrorCode, state: string, details: TransferDetails, what = "transfer") {
    super(code, `Cannot ${what}: ${state}`, details);
    this.state = state;
    this.what = what;
    this.prospect = details.prospect;
    this.retryAfterMs = details.retryAfterMs;
    this.notTls = details.notTls ?? false;
    this.status = details.status;
  }

  /** The same failure, told of `what`: "read blob 3f2a… from registry localhost:5000/app". */
  of(what: string): TransferError {
    const { state, prospect, retryAfterMs, notTls, status, hint } = this;
    const optional = { ...(hint === undefined ? {} : { hint }), ...(status === undefined ? {} : { status }) };
    return new TransferError(this.code, state, { prospect, retryAfterMs, notTls, ...optional, cause: this }, what);
  }
}

/** A broken answer: not what HTTP or the registry protocol promises. Such answers come from a middleman: try again. */
export function brokenAnswer(state: string): TransferError {
  return new TransferError("unavailable", state, { prospect: "transient" });
}

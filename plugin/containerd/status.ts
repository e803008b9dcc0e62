/**
 * Responses to failed calls: the only place where an error becomes a gRPC status.
 *
 * containerd branches on some codes: NOT_FOUND and ALREADY_EXISTS are about snapshots, FAILED_PRECONDITION on Remove
 * means that others are stacked on it.
 *
 * @module
 */
import { status } from "@grpc/grpc-js";
import { isErrno } from "../../ffi/errno.ts";
import { isDiskFull } from "../../lib/base/disk_full.ts";
import { describeError } from "../../lib/base/error_report.ts";
import { type ErrorCode, firstFailure, hasCode, NydusGdError } from "../../lib/base/errors.ts";
import { logger } from "../../lib/base/log.ts";

const log = logger("containerd");

const STATUS_OF: Readonly<Record<ErrorCode, status>> = {
  usage: status.INVALID_ARGUMENT,
  config: status.FAILED_PRECONDITION,
  "not-found": status.NOT_FOUND,
  exists: status.ALREADY_EXISTS,
  "invalid-image": status.INVALID_ARGUMENT,
  unsupported: status.FAILED_PRECONDITION,
  unauthorized: status.UNAUTHENTICATED,
  unavailable: status.UNAVAILABLE,
  corrupt: status.DATA_LOSS,
  busy: status.FAILED_PRECONDITION,
  environment: status.FAILED_PRECONDITION,
  interrupted: status.UNAVAILABLE, // the server stops; a caller who has given up gets no response
  io: status.UNKNOWN,
  internal: status.INTERNAL,
};

/** Code and text of a failed call. */
export interface CallStatus {
  readonly code: status;
  /** The message and its hint, which clients show. */
  readonly details: string;
}

/** The response to a failed call of `method`. */
export function statusOf(method: string, thrown: unknown): CallStatus {
  const { message, hint } = describeError(thrown);
  // containerd asks for what does not exist, and for what exists, all the time
  if (hasCode(thrown, "not-found", "exists")) log.debug("call failed", { method, reason: message });
  else log.warn("call failed", { method, reason: message });
  return { code: codeOf(firstFailure(thrown)), details: hint === undefined ? message : `${message} (hint: ${hint})` };
}

function codeOf(error: unknown): status {
  const isOurs = error instanceof NydusGdError;
  if (isDiskFull(isOurs ? error.cause : error) || isErrno(error, "EMFILE", "ENFILE")) return status.RESOURCE_EXHAUSTED;
  return isOurs ? STATUS_OF[error.code] : status.UNKNOWN;
}

/**
 * Translates error responses of object stores, with a hint at the configuration key to change.
 *
 * ```xml
 * <Error><Code>NoSuchKey</Code><Message>…</Message><Region>…</Region><Endpoint>…</Endpoint></Error>
 * ```
 * S3, OSS and compatible stores share this form and most codes. Only code, region and endpoint are used, and only if
 * they consist of the characters of such names: messages may echo what was signed. Sources: Amazon S3 API reference,
 * "Error responses"; Alibaba Cloud OSS, "Error responses".
 *
 * @module
 */
import type { ErrorCode } from "../../base/errors.ts";
import type { HttpResponse } from "../http/http_response.ts";
import { parseRetryAfter } from "../http/retry.ts";
import { errorBody } from "../http/status.ts";
import { type Prospect, TransferError } from "../http/transfer_error.ts";

/** Properties of the bucket that messages mention. */
export interface BucketFacts {
  readonly bucketName: string;
  /** HOST or HOST:PORT. */
  readonly endpoint: string;
  /** Undefined if the protocol has no regions. */
  readonly region: string | undefined;
  readonly isAnonymous: boolean;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly words: string;
  readonly hint: string;
}

/** Error codes of transient failures, in addition to all 5xx. */
const PASSING = new Set([
  "SlowDown",
  "ServiceUnavailable",
  "InternalError",
  "RequestTimeout",
  "Throttling",
  "QpsLimitExceeded",
  "DownloadTrafficRateLimitExceeded",
]);

/** Returns the error for a response of 300 or more. Reads the body. */
export async function objectError(response: HttpResponse, bucket: BucketFacts): Promise<TransferError> {
  const { status } = response;
  const body = await errorBody(response);
  const name = element(body, "Code", /^[A-Za-z][A-Za-z0-9.]{1,63}$/);
  const meaning = elsewhere(response, body, bucket) ?? meaningOf(name, response, bucket);
  const details = {
    prospect: prospectOf(status, name),
    status,
    retryAfterMs: parseRetryAfter(response.header("retry-after")),
    ...(meaning?.hint === undefined ? {} : { hint: meaning.hint }),
  };
  const said = `HTTP ${status}${name === undefined ? "" : ` ${name}`} from ${response.server}`;
  const state = meaning === undefined ? said : `${said}: ${meaning.words}`;
  return new TransferError(meaning?.code ?? codeOf(status), state, details);
}

/** Returns the text of the first element `name`, if it matches `form`. */
function element(body: string, name: string, form: RegExp): string | undefined {
  const text = new RegExp(`<(?:\\w+:)?${name}\\s*>\\s*([^<\\s]{1,255})\\s*<`).exec(body)?.[1];
  return text !== undefined && form.test(text) ? text : undefined;
}

/** Recognizes a bucket in another region or at another endpoint, if the server names it. */
function elsewhere(response: HttpResponse, body: string, bucket: BucketFacts): Meaning | undefined {
  const reported = response.header("x-amz-bucket-region") ?? element(body, "Region", REGION);
  const region = reported !== undefined && REGION.test(reported) && reported !== bucket.region ? reported : undefined;
  const ownName = `${bucket.bucketName}.`;
  const at = element(body, "Endpoint", ENDPOINT)?.replace(ownName, "");
  const endpoint = at === bucket.endpoint ? undefined : at;
  if (bucket.region !== undefined && region !== undefined) {
    const hint = `set region to ${region}${endpoint === undefined ? "" : ` and endpoint to ${endpoint}`}`;
    return { code: "unavailable", words: `the bucket is in region ${region}, not ${bucket.region}`, hint };
  }
  if (endpoint === undefined) return undefined;
  return { code: "unavailable", words: `the bucket is at ${endpoint}`, hint: `set endpoint to ${endpoint}` };
}

const REGION = /^[A-Za-z0-9][A-Za-z0-9-]{1,62}$/;
const ENDPOINT = /^[A-Za-z0-9][A-Za-z0-9.-]{1,252}(?::\d{1,5})?$/;

function meaningOf(
  name: string | undefined,
  response: HttpResponse,
  { bucketName, isAnonymous }: BucketFacts,
): Meaning | undefined {
  switch (name) {
    case "NoSuchKey":
      return { code: "not-found", words: `bucket ${bucketName} has no such object`, hint: "check object_prefix" };
    case "NoSuchBucket":
      return {
        code: "not-found",
        words: `there is no bucket ${bucketName}`,
        hint: "check bucket_name and endpoint",
      };
    case "AccessDenied":
      return isAnonymous
        ? {
          code: "unauthorized",
          words: "the bucket is not public",
          hint: "set access_key_id and access_key_secret",
        }
        : {
          code: "unauthorized",
          words: `the access key may not read from bucket ${bucketName}`,
          hint: "allow it to get objects and to list the bucket, or check object_prefix",
        };
    case "InvalidAccessKeyId":
      return { code: "unauthorized", words: "the access key is unknown to the server", hint: "check access_key_id" };
    case "SignatureDoesNotMatch":
      return {
        code: "unauthorized",
        words: "the secret does not match the access key",
        hint: "check access_key_secret",
      };
    case "RequestTimeTooSkewed":
      return { code: "unauthorized", words: clockWords(response), hint: "set the clock: timedatectl set-ntp true" };
    case "InvalidObjectState":
      return { code: "unavailable", words: "the object is archived", hint: "restore it to a readable storage class" };
    default:
      return undefined;
  }
}

/** Describes the offset of the local clock from the server's. */
function clockWords(response: HttpResponse): string {
  const offMs = Date.now() - Date.parse(response.header("date") ?? "");
  if (Number.isNaN(offMs)) return "this machine's clock differs from the server's";
  const minutes = Math.round(Math.abs(offMs) / 60_000);
  return `this machine's clock is ${minutes} minutes ${offMs < 0 ? "behind" : "ahead of"} the server's`;
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 403) return "unauthorized";
  return status === 404 || status === 410 ? "not-found" : "unavailable";
}

function prospectOf(status: number, name: string | undefined): Prospect {
  const passes = status >= 500 || status === 408 || status === 425 || status === 429;
  return passes || (name !== undefined && PASSING.has(name)) ? "transient" : "permanent";
}

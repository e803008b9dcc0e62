/**
 * AWS Signature Version 4 in the Authorization header, computed by aws4fetch without its fetch.
 *
 * All given headers are signed, including the range, and the host with its port unless that is the scheme's default.
 * Source: Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header".
 *
 * @module
 */
import { AwsV4Signer } from "aws4fetch";
import type { Headers, ReadMethod } from "../http/http_blob.ts";
import type { AccessKey, RequestSigner } from "./request_signer.ts";

/** sha256 of the empty body of a read. */
const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Signs requests in one region. */
export class S3Signer implements RequestSigner {
  readonly #key: AccessKey;
  /** Signing keys derived from the secret for {@link #day}. */
  #derived = new Map<string, ArrayBuffer>();
  #day = "";

  /** @param now milliseconds since 1970 */
  constructor(key: AccessKey, private readonly region: string, private readonly now: () => number = Date.now) {
    this.#key = key;
  }

  async sign(method: ReadMethod, url: URL, headers: Headers): Promise<Headers> {
    // Basic format of ISO 8601: 20130524T000000Z.
    const datetime = new Date(this.now()).toISOString().replace(/[:-]|\.\d{3}/g, "");
    const signer = new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers, "x-amz-content-sha256": EMPTY_SHA256 },
      accessKeyId: this.#key.id,
      secretAccessKey: this.#key.secret,
      service: "s3",
      region: this.region,
      cache: this.#derivedOn(datetime.slice(0, 8)),
      datetime,
      allHeaders: true,
    });
    return Object.fromEntries((await signer.sign()).headers);
  }

  #derivedOn(day: string): Map<string, ArrayBuffer> {
    if (this.#day !== day) {
      this.#day = day;
      this.#derived = new Map();
    }
    return this.#derived;
  }
}

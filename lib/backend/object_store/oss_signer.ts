/**
 * Signature version 1 of Alibaba Cloud OSS in the Authorization header.
 *
 * ```
 * OSS <id>:base64(HMAC-SHA1(secret, VERB \n Content-MD5 \n Content-Type \n Date \n x-oss-*:value \n… /bucket/key))
 * ```
 * The range is not signed. Source: Alibaba Cloud OSS, "Include a V1 signature in the Authorization header".
 *
 * @module
 */
import { createHmac } from "node:crypto";
import type { Headers, ReadMethod } from "../http/http_blob.ts";
import type { AccessKey, RequestSigner } from "./request_signer.ts";

/**
 * Returns the Authorization of a request whose headers include `date`. @param resource "/bucket/key", not URL-encoded
 */
export function ossAuthorization(key: AccessKey, method: string, resource: string, headers: Headers): string {
  const names = Object.keys(headers).filter((name) => name.startsWith("x-oss-")).sort();
  const own = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const { "content-md5": md5 = "", "content-type": type = "", date = "" } = headers;
  const text = `${method}\n${md5}\n${type}\n${date}\n${own}${resource}`;
  return `OSS ${key.id}:${createHmac("sha1", key.secret).update(text).digest("base64")}`;
}

/** Signs requests to one bucket, whose name is in the host of its URLs and not in the path. */
export class OssSigner implements RequestSigner {
  readonly #key: AccessKey;

  /** @param now milliseconds since 1970 */
  constructor(key: AccessKey, private readonly bucketName: string, private readonly now: () => number = Date.now) {
    this.#key = key;
  }

  sign(method: ReadMethod, url: URL, headers: Headers): Promise<Headers> {
    const dated = { ...headers, date: new Date(this.now()).toUTCString() };
    const resource = `/${this.bucketName}${decodeURIComponent(url.pathname)}`;
    return Promise.resolve({ ...dated, authorization: ossAuthorization(this.#key, method, resource, dated) });
  }
}

/**
 * Interface of request signers of object stores.
 *
 * @module
 */
import type { Headers, ReadMethod } from "../http/http_blob.ts";

/** A key pair. Every request carries the ID; the secret is never sent. */
export interface AccessKey {
  readonly id: string;
  readonly secret: string;
}

/** Signs requests with a key pair. */
export interface RequestSigner {
  /** Returns `headers` plus those of the signature. */
  sign(method: ReadMethod, url: URL, headers: Headers): Promise<Headers>;
}

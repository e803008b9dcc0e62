/**
 * How a request is proven to come from the holder of a key pair.
 *
 * @module
 */
import type { Headers, ReadMethod } from "../http/http_blob.ts";

/** A key pair. The id travels with every request, the secret never. */
export interface AccessKey {
  readonly id: string;
  readonly secret: string;
}

/** Makes the headers that prove a key pair. */
export interface RequestSigner {
  /** `headers`, and what has to be sent with them. */
  sign(method: ReadMethod, url: URL, headers: Headers): Promise<Headers>;
}

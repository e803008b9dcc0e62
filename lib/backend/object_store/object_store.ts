/**
 * The backends `s3` and `oss`: a bucket with one object per blob, named `<object_prefix><blob id>`.
 *
 * ```
 * s3    scheme://endpoint/bucket/key     AWS Signature Version 4
 * oss   scheme://bucket.endpoint/key     Alibaba's signature version 1
 * ```
 * Without access keys, requests are not signed, for public buckets. nydusd signs them with empty keys, which servers
 * refuse.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { isRegistryHost } from "../../oci/reference.ts";
import type { ObjectStoreConfig } from "../backend_config.ts";
import { checkBlobName } from "../blob_id.ts";
import type { Backend, BlobSource } from "../blob_source.ts";
import { type BlobServer, type Headers, HttpBlob, type ReadMethod, type ServerAccess } from "../http/http_blob.ts";
import type { HttpResponse } from "../http/http_response.ts";
import type { TransferError } from "../http/transfer_error.ts";
import { type BucketFacts, objectError } from "./object_error.ts";
import { OssSigner } from "./oss_signer.ts";
import type { AccessKey, RequestSigner } from "./request_signer.ts";
import { S3Signer } from "./s3_signer.ts";

/** One bucket. */
export class ObjectStore implements Backend, BlobServer {
  readonly description: string;
  readonly #base: URL;
  readonly #objectPrefix: string;
  readonly #signer: RequestSigner | undefined;
  readonly #facts: BucketFacts;

  /** @throws {NydusGdError} "config" if the configuration does not yield a URL, or half a key pair is missing */
  constructor(config: ObjectStoreConfig, readonly access: ServerAccess) {
    const { type, bucketName, endpoint, objectPrefix, region } = config;
    const key = accessKeyOf(config);
    this.#base = bucketUrl(config);
    this.#objectPrefix = objectPrefix;
    this.#signer = key && signerOf(config, key);
    this.#facts = { bucketName, endpoint, region, isAnonymous: key === undefined };
    const where = type === "s3" ? `${endpoint}/${bucketName}` : this.#base.host;
    this.description = `${type} ${where}${objectPrefix === "" ? "" : `/${objectPrefix}`}`;
  }

  /** @throws {NydusGdError} "invalid-image" if the ID is not a file name */
  blob(id: string): BlobSource {
    return new HttpBlob(this, id, new URL(`${this.#base.href}${encodeKey(this.#objectPrefix + checkBlobName(id))}`));
  }

  async authorize(method: ReadMethod, url: URL, headers: Headers): Promise<Headers> {
    return await this.#signer?.sign(method, url, headers) ?? headers;
  }

  refusal(response: HttpResponse): Promise<TransferError> {
    return objectError(response, this.#facts);
  }
}

function signerOf({ type, region = "", bucketName }: ObjectStoreConfig, key: AccessKey): RequestSigner {
  return type === "s3" ? new S3Signer(key, region) : new OssSigner(key, bucketName);
}

/** Returns the key pair; undefined if neither half is configured. */
function accessKeyOf(config: ObjectStoreConfig): AccessKey | undefined {
  const { accessKeyId: id, accessKeySecret: secret } = config;
  if (id === "" && secret === "") return undefined;
  if (id === "" || secret === "") {
    const [there, missing] = id === ""
      ? ["access_key_secret", "access_key_id"]
      : ["access_key_id", "access_key_secret"];
    throw refused(config, `it has ${there} without ${missing}`, `set ${missing}, or leave both out`);
  }
  if (!/^[\x21-\x7e]+$/.test(id)) {
    throw refused(config, "its access_key_id is not a single ASCII word", "check access_key_id");
  }
  return { id, secret };
}

/** Returns the URL to which object keys are appended. */
function bucketUrl(config: ObjectStoreConfig): URL {
  const { type, endpoint, bucketName, objectPrefix, scheme = "https" } = config;
  if (!isRegistryHost(endpoint)) {
    throw refused(
      config,
      "its endpoint is not HOST or HOST:PORT",
      "set scheme to https or http, and endpoint to the rest",
    );
  }
  if (!BUCKET_NAME[type].test(bucketName)) throw refused(config, "its bucket_name is malformed", "check bucket_name");
  if (objectPrefix.split("/").some((step) => step === "." || step === "..")) {
    throw refused(config, "its object_prefix has a . or .. segment, which a URL cannot carry", "check object_prefix");
  }
  const text = type === "s3" ? `${scheme}://${endpoint}/${bucketName}/` : `${scheme}://${bucketName}.${endpoint}/`;
  if (!URL.canParse(text)) {
    throw refused(
      config,
      "its endpoint is not a host name, so the bucket cannot be put before it",
      "set endpoint to a host name: the bucket name is put before it",
    );
  }
  return new URL(text);
}

/** Bucket names: for S3 a path component, for OSS a label of a host name. */
const BUCKET_NAME = { s3: /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/, oss: /^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/ } as const;

function refused({ type }: ObjectStoreConfig, state: string, hint: string): NydusGdError {
  return new NydusGdError("config", `Cannot open backend ${type}: ${state}`, { hint });
}

/** Percent-encodes all bytes except slashes and RFC 3986's unreserved characters, as both signatures require. */
function encodeKey(key: string): string {
  return key.split("/").map((step) =>
    encodeURIComponent(step).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  ).join("/");
}

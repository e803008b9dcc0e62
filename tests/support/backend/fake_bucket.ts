/**
 * An in-process object store that speaks S3 or OSS: it recomputes every signature from the received request, compares
 * clocks, serves ranges, and can be told to misbehave.
 *
 * ```ts
 * await using bucket = await FakeBucket.start("s3");
 * bucket.objects.set("nydus/3f2a…", bytes);
 * bucket.faults.push({ kind: "truncate", keep: 10 });
 * ```
 * Signatures are implemented independently, from the vendors' documents: Amazon S3 API reference, "Authenticating
 * Requests (AWS Signature Version 4)"; Alibaba Cloud OSS, "Include a V1 signature in the Authorization header".
 *
 * @module
 */
import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { answerAtOnce, answerRange, end, type Fault } from "./faults.ts";

export type Protocol = "s3" | "oss";

/** The only known key pair. */
export const ACCESS_KEY = { id: "AKIDEXAMPLE0000", secret: "s3cr/et+EXAMPLE" } as const;
export const BUCKET = "images";
const REGION = "eu-central-1";

/** Maximum difference between the clocks of client and server. */
const MAX_SKEW_MS = 15 * 60_000;

/** Options of a bucket; by default only the key pair may read. */
export interface FakeBucketOptions {
  /** Anyone may read. */
  readonly isPublic?: boolean;
  /** The key pair is known but may not read. */
  readonly isForbidden?: boolean;
  /** Milliseconds by which the server's clock is ahead. */
  readonly clockAheadMs?: number;
  /** Serves TLS with this certificate, PEM. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** A received request. */
export interface BucketRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** One bucket on a free loopback port. */
export class FakeBucket implements AsyncDisposable {
  /** By key. */
  readonly objects = new Map<string, Uint8Array>();
  /** Consumed from the front, one for each GET of an object. */
  readonly faults: Fault[] = [];
  readonly requests: BucketRequest[] = [];
  /** Number of connections accepted so far. */
  connections = 0;
  port = 0;

  private constructor(
    readonly protocol: Protocol,
    private readonly server: Server,
    private readonly options: FakeBucketOptions,
  ) {}

  static async start(protocol: Protocol, options: FakeBucketOptions = {}): Promise<FakeBucket> {
    const { tls } = options;
    const server = tls === undefined ? createServer() : createTlsServer({ cert: tls.certificate, key: tls.key });
    const bucket = new FakeBucket(protocol, server, options);
    server.on("connection", () => bucket.connections++);
    server.on("request", (request, response) => bucket.#serve(request, response));
    await bucket.comeBack();
    bucket.port = (server.address() as AddressInfo).port;
    return bucket;
  }

  /** Refuses connections from now on. */
  async goDown(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }

  /** Accepts connections again after {@link goDown}, on the same port. */
  async comeBack(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.port, "127.0.0.1", resolve));
  }

  /** Endpoint for the configuration; for OSS the client prefixes the bucket's name. */
  get endpoint(): string {
    return `${this.protocol === "s3" ? "127.0.0.1" : "localhost"}:${this.port}`;
  }

  /** The section of nydusd's configuration, with `more` merged in. */
  section(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return {
      endpoint: this.endpoint,
      scheme: this.options.tls === undefined ? "http" : "https",
      bucket_name: BUCKET,
      access_key_id: ACCESS_KEY.id,
      access_key_secret: ACCESS_KEY.secret,
      ...(this.protocol === "s3" ? { region: REGION } : {}),
      ...more,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.goDown();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = "", url = "", headers } = request;
    const seen: BucketRequest = { method, url, headers: headers as Record<string, string | undefined> };
    this.requests.push(seen);
    response.setHeader("date", new Date(this.#now()).toUTCString());
    const { bucket, key } = this.protocol === "s3" ? placeInPath(url) : placeInHost(url, String(headers.host));
    if (bucket !== BUCKET) return refuse(response, 404, "NoSuchBucket");
    const refusal = this.#judge(seen, `/${bucket}/${key}`);
    if (refusal !== undefined) return refuse(response, 403, refusal);
    const fault = method === "GET" ? this.faults.shift() : undefined;
    if (answerAtOnce(fault, response)) return;
    const object = this.objects.get(key);
    if (object === undefined) return refuse(response, 404, "NoSuchKey");
    answerRange(object, method, String(headers.range ?? ""), fault, response);
  }

  /** Returns the error code of a refusal; undefined for a valid request. */
  #judge(request: BucketRequest, resource: string): string | undefined {
    const { authorization } = request.headers;
    if (authorization === undefined) return this.options.isPublic ? undefined : "AccessDenied";
    const proof = this.protocol === "s3"
      ? proofOfS3(request, authorization)
      : proofOfOss(request, authorization, resource);
    if (proof === undefined) return "InvalidArgument";
    if (proof.id !== ACCESS_KEY.id) return "InvalidAccessKeyId";
    if (!(Math.abs(proof.timeMs - this.#now()) <= MAX_SKEW_MS)) return "RequestTimeTooSkewed";
    if (proof.signature !== proof.expected) return "SignatureDoesNotMatch";
    return this.options.isForbidden ? "AccessDenied" : undefined;
  }

  #now(): number {
    return Date.now() + (this.options.clockAheadMs ?? 0);
  }
}

interface Place {
  readonly bucket: string;
  readonly key: string;
}

function placeInPath(url: string): Place {
  const [, bucket = "", key = ""] = /^\/([^/]*)\/(.*)$/.exec(url) ?? [];
  return { bucket, key: decodeURIComponent(key) };
}

function placeInHost(url: string, host: string): Place {
  return { bucket: host.slice(0, host.indexOf(".")), key: decodeURIComponent(url.slice(1)) };
}

/** Sends an error with a body as the vendors send it; a response to HEAD has none. */
function refuse(response: ServerResponse, status: number, code: string): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n  <Code>${code}</Code>\n` +
    `  <Message>echoes the secret? ${ACCESS_KEY.secret}</Message>\n  <RequestId>1</RequestId>\n</Error>`;
  end(response, status, { "content-type": "application/xml" }, body);
}

interface Proof {
  readonly id: string;
  readonly timeMs: number;
  readonly signature: string;
  readonly expected: string;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const hmac256 = (key: string | Uint8Array, text: string) => createHmac("sha256", key).update(text).digest();

function proofOfS3({ method, url, headers }: BucketRequest, authorization: string): Proof | undefined {
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^/,]*)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)$/;
  const [, id = "", day = "", region = "", names = "", signature = ""] = form.exec(authorization) ?? [];
  const signed = names.split(";");
  if (signature === "" || region !== REGION || !signed.includes("host") || !signed.includes("x-amz-date")) {
    return undefined;
  }
  const date = headers["x-amz-date"] ?? "";
  const payload = headers["x-amz-content-sha256"] ?? "";
  const lines = signed.map((name) => `${name}:${(headers[name] ?? "").trim()}\n`).join("");
  const canonical = `${method}\n${url}\n\n${lines}\n${names}\n${payload}`;
  const text = `AWS4-HMAC-SHA256\n${date}\n${day}/${region}/s3/aws4_request\n${sha256(canonical)}`;
  const key = [region, "s3", "aws4_request"].reduce(hmac256, hmac256(`AWS4${ACCESS_KEY.secret}`, day));
  const iso = date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z");
  return { id, timeMs: Date.parse(iso), signature, expected: createHmac("sha256", key).update(text).digest("hex") };
}

function proofOfOss({ method, headers }: BucketRequest, authorization: string, resource: string): Proof | undefined {
  const [, id = "", signature = ""] = /^OSS ([^:]*):(.+)$/.exec(authorization) ?? [];
  if (signature === "") return undefined;
  const { date = "", "content-md5": md5 = "", "content-type": type = "" } = headers;
  const text = [method, md5, type, date, resource].join("\n");
  const expected = createHmac("sha1", ACCESS_KEY.secret).update(text).digest("base64");
  return { id, timeMs: Date.parse(date), signature, expected };
}

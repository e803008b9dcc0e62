/**
 * An in-process registry that can be told to misbehave, for what a real one does too rarely.
 *
 * ```ts
 * await using registry = await FakeRegistry.start({ auth: "bearer" });
 * const id = registry.addBlob(bytes);
 * registry.faults.push({ kind: "status", status: 503 }, { kind: "truncate", keep: 10 });
 * ```
 * Each request for a blob's data consumes the first fault of the list; without one it is answered correctly. If `store`
 * is set, requests for blobs are redirected there, as registries do with object stores.
 *
 * @module
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { MEDIA_TYPE } from "../../../lib/oci/media_types.ts";
import { type FakeTokenOptions, FakeTokenServer } from "./fake_token_server.ts";
import { answerAtOnce, answerRange, end, type Fault } from "./faults.ts";

/** A received request. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Access control. */
export interface FakeRegistryOptions extends FakeTokenOptions {
  readonly auth?: "none" | "basic" | "bearer";
  /** A 401 to a wrong Authorization has no challenge. */
  readonly silentRefusal?: boolean;
  /** Serves TLS; PEM texts. With `clientCa`, only to clients with a certificate issued by it. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly clientCa?: string };
}

/** The registry, and its token server for `bearer`, on one port. */
export class FakeRegistry implements AsyncDisposable {
  /** Consumed from the front, one for each request for a blob's data. */
  readonly faults: Fault[] = [];
  /** Fault for every request for a blob's data while {@link faults} is empty. */
  lasting: Fault | undefined;
  /** Blobs whose data are never sent. */
  readonly stalled = new Set<string>();
  /** Every request, in order. */
  readonly requests: SeenRequest[] = [];
  /** Redirects requests for blobs to this registry's `/store/`. */
  store: FakeRegistry | undefined;
  /** Status with which every request is refused, without a challenge. */
  refusal: number | undefined;
  /** Status of answers of the referrers API, which is not supported while there are none to give. */
  referrersStatus = 404;
  /** Status of answers about manifests that are not there. */
  unnamedStatus = 404;
  /** Answers about manifests do not name their digests. */
  omitsDigests = false;
  /** Number of connections accepted so far. */
  connections = 0;
  /** Valid signatures of redirects; empty: any. */
  readonly signatures = new Set<string>();
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #manifests = new Map<string, { readonly type: string; readonly bytes: Uint8Array }>();
  readonly #tokens: FakeTokenServer;
  readonly #referrers = new Map<string, Uint8Array>();
  readonly #sockets = new Set<Socket>();
  #port = 0;

  private constructor(private readonly server: Server, private readonly options: FakeRegistryOptions) {
    this.#tokens = new FakeTokenServer(options);
  }

  /** Starts it on a free loopback port. */
  static async start(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
    const server = listenerOf(options.tls);
    const registry = new FakeRegistry(server, options);
    server.on("request", (request, response) => registry.#serve(request, response));
    server.on("connection", (socket) => {
      registry.connections++;
      registry.#sockets.add(socket);
      socket.once("close", () => registry.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    registry.#port = (server.address() as AddressInfo).port;
    return registry;
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get url(): string {
    return `${this.options.tls === undefined ? "http" : "https"}://${this.host}`;
  }

  /** Its port on loopback. */
  get port(): number {
    return this.#port;
  }

  /** Adds a blob; returns its id. */
  addBlob(bytes: Uint8Array): string {
    const id = createHash("sha256").update(bytes).digest("hex");
    this.#blobs.set(id, bytes);
    return id;
  }

  /** Replaces the bytes under the id of a blob; undefined: removes it. Returns the previous bytes. */
  replaceBlob(id: string, bytes: Uint8Array | undefined): Uint8Array | undefined {
    const before = this.#blobs.get(id);
    if (bytes === undefined) this.#blobs.delete(id);
    else this.#blobs.set(id, bytes);
    return before;
  }

  /** Requires this password from now on. */
  changePassword(password: string): void {
    this.#tokens.password = password;
    this.#tokens.expire();
  }

  /** Refuses connections from now on. */
  async goDown(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.dropConnections();
    await closed;
  }

  /** Accepts connections again after {@link goDown}, on the same port. */
  async comeBack(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.#port, "127.0.0.1", resolve));
  }

  /** Adds a manifest under a name. */
  addManifest(name: string, type: string, bytes: Uint8Array): void {
    this.#manifests.set(name, { type, bytes });
  }

  /** Requires this identity token from now on; undefined: none is valid. */
  changeIdentityToken(token: string | undefined): void {
    this.#tokens.identityToken = token;
    this.#tokens.expire();
  }

  /** Adds the answer of the referrers API for a manifest; without any, the registry does not support the API. */
  addReferrers(digest: string, index: Uint8Array): void {
    this.#referrers.set(digest, index);
  }

  /** Revokes every token issued so far. */
  expireTokens(): void {
    this.#tokens.expire();
  }

  /** Counts the requests with this method and path prefix. */
  count(method: string, pathPrefix: string): number {
    return this.requests.filter((seen) => seen.method === method && seen.path.startsWith(pathPrefix)).length;
  }

  /** Requests for data: not those for the first byte of a blob, whose answers tell its size. */
  get dataRequests(): SeenRequest[] {
    return this.requests.filter(({ method, headers }) => method === "GET" && headers.range !== "bytes=0-0");
  }

  /** Closes every connection, as servers do with idle ones. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.dropConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    const pieces: Uint8Array[] = [];
    try {
      for await (const piece of request) pieces.push(piece);
    } catch (error) {
      if (request.socket.destroyed) return; // the client disconnected before its request was complete
      throw error;
    }
    const seen: SeenRequest = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: pieces.map((piece) => new TextDecoder().decode(piece)).join(""),
    };
    this.requests.push(seen);
    if (this.refusal !== undefined) return end(response, this.refusal, {}, "{}");
    if (seen.path === "/token") return this.#tokens.answer(seen, response);
    const stored = /^\/store\/([0-9a-f]{64})$/.exec(seen.path)?.[1];
    if (stored !== undefined) {
      const signature = url.searchParams.get("signature") ?? "";
      if (this.signatures.size > 0 && !this.signatures.has(signature)) {
        return end(response, 403, {}, "<Error>Expired</Error>");
      }
      return this.#data(stored, seen, response);
    }
    if (!this.#isAllowed(seen)) return this.#challenge(seen, response);
    const [, kind, name = ""] = /^\/v2\/.+\/(blobs|manifests|referrers)\/([^/]+)$/.exec(seen.path) ?? [];
    const referrers = kind === "referrers" ? this.#referrers.get(name) : undefined;
    if (referrers !== undefined) return end(response, 200, { "content-type": MEDIA_TYPE.ociIndex }, referrers);
    if (kind === "referrers") return end(response, this.referrersStatus, { "content-type": "text/html" }, "<html>");
    if (kind === "manifests") return this.#manifest(decodeURIComponent(name), seen, response);
    if (kind !== "blobs") return end(response, seen.path === "/v2/" ? 200 : 404, {}, "{}");
    return this.#blob(name.replace(/^sha256:/, ""), seen, response);
  }

  #blob(id: string, seen: SeenRequest, response: ServerResponse): void {
    const { store } = this;
    if (store !== undefined && this.faults.length === 0) {
      const signature = randomUUID();
      store.signatures.add(signature);
      return end(response, 307, { location: `${store.url}/store/${id}?signature=${signature}` }, "");
    }
    this.#data(id, seen, response);
  }

  #data(id: string, seen: SeenRequest, response: ServerResponse): void {
    const blob = this.#blobs.get(id);
    const fault = seen.method === "GET" ? this.faults.shift() ?? this.lasting : undefined;
    if (answerAtOnce(fault, response) || this.stalled.has(id)) return;
    if (blob === undefined) return end(response, 404, {}, JSON.stringify({ errors: [{ code: "BLOB_UNKNOWN" }] }));
    answerRange(blob, seen.method, String(seen.headers.range ?? ""), fault, response);
  }

  #manifest(name: string, seen: SeenRequest, response: ServerResponse): void {
    const manifest = this.#manifests.get(name);
    if (manifest === undefined) {
      return end(response, this.unnamedStatus, {}, JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN" }] }));
    }
    const digest = `sha256:${createHash("sha256").update(manifest.bytes).digest("hex")}`;
    const headers = {
      "content-type": manifest.type,
      ...(this.omitsDigests ? {} : { "docker-content-digest": digest }),
    };
    end(response, 200, headers, seen.method === "HEAD" ? manifest.bytes.length : manifest.bytes);
  }

  #isAllowed(seen: SeenRequest): boolean {
    const authorization = String(seen.headers.authorization ?? "");
    if (this.options.auth === "basic") return authorization === this.#tokens.basic;
    if (this.options.auth === "bearer") return this.#tokens.accepts(authorization);
    return true;
  }

  #challenge(seen: SeenRequest, response: ServerResponse): void {
    const isSilent = this.options.silentRefusal && seen.headers.authorization !== undefined;
    const repository = /^\/v2\/(.+)\/(?:blobs|manifests)\//.exec(seen.path)?.[1];
    const challenge = this.options.auth === "basic"
      ? `Basic realm="a, \\"quoted\\" realm"`
      : `Bearer realm="${this.url}/token",service="fake",scope="repository:${repository}:pull,push"`;
    end(response, 401, isSilent ? {} : { "www-authenticate": challenge }, "{}");
  }
}

function listenerOf(tls: FakeRegistryOptions["tls"]): Server {
  if (tls === undefined) return createServer();
  const { certificate: cert, key, clientCa } = tls;
  const clients = clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true };
  return createTlsServer({ cert, key, ...clients });
}

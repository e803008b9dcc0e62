/**
 * A proxy for a registry on loopback that records uploads and downloads, and can delay uploads.
 *
 * ```ts
 * await using recorder = new PushRecorder(registry.host);
 * const held = recorder.holdAfter(1); // the second upload is not answered
 * …push to recorder.host…
 * await held;
 * recorder.uploaded; // the first one's digest
 * ```
 *
 * @module
 */

/** The recording proxy, on a free loopback port. */
export class PushRecorder implements AsyncDisposable {
  /** Digests of the blobs uploaded. */
  readonly uploaded: string[] = [];
  /** Digests of the blobs mounted from another repository. */
  readonly mounted: string[] = [];
  /** Digests of the blobs that were requested as a whole. */
  readonly downloaded: string[] = [];
  #letThrough = Infinity;
  #onHeld = () => {};
  #released = Promise.withResolvers<void>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(private readonly upstream: string) {
    const onError = () => new Response(null, { status: 502 }); // the registry is down
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {}, onError };
    this.#server = Deno.serve(options, (request) => this.#forward(request));
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  /** Accepts `count` more uploads and delays the rest; resolves when the first delayed one arrives. */
  holdAfter(count: number): Promise<void> {
    const held = Promise.withResolvers<void>();
    this.#letThrough = this.uploaded.length + count;
    this.#onHeld = held.resolve;
    return held.promise;
  }

  /** Fails delayed uploads and accepts all from now on. */
  release(): void {
    this.#letThrough = Infinity;
    this.#released.resolve();
    this.#released = Promise.withResolvers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await this.#server.shutdown();
  }

  async #forward(request: Request): Promise<Response> {
    const { pathname, search, searchParams } = new URL(request.url);
    const digest = request.method === "PUT" ? searchParams.get("digest") : null;
    if (digest !== null && this.uploaded.length >= this.#letThrough) {
      const released = this.#released.promise;
      this.#onHeld();
      await released;
      return new Response(null, { status: 503 });
    }
    const headers = new Headers(request.headers);
    headers.delete("host");
    headers.set("x-forwarded-host", this.host); // for the locations in its answers
    const { method, body } = request;
    const url = `http://${this.upstream}${pathname}${search}`;
    const response = await fetch(url, { method, headers, body, redirect: "manual" });
    if (response.status === 201 && digest !== null) this.uploaded.push(digest);
    const [, wanted] = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(pathname) ?? [];
    if (method === "GET" && wanted !== undefined && !headers.has("range")) this.downloaded.push(wanted);
    const mounted = searchParams.get("mount");
    if (response.status === 201 && mounted !== null) this.mounted.push(mounted);
    return new Response(response.body, { status: response.status, headers: response.headers });
  }
}

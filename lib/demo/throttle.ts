/**
 * A reverse proxy with a bandwidth limit and a delay per request, in front of a registry on loopback: the slow link
 * that a cold start is measured over. It counts what goes through.
 *
 * @module
 */

/** What went through since the last {@link Throttle.reset}. */
export interface Traffic {
  readonly requests: number;
  /** Bytes of response bodies. */
  readonly bytes: number;
}

/** Limits of the link. */
export interface ThrottleOptions {
  /** Where requests go: `http://127.0.0.1:PORT`. */
  readonly upstream: string;
  /** Shared by all responses; Infinity for none. */
  readonly bytesPerSecond: number;
  /** Added before each response starts. */
  readonly delayMs: number;
}

/** Pieces are cut to this size, so that parallel responses share the link fairly. */
const PIECE_BYTES = 16 * 1024;

/** The proxy, listening on a port of its own on 127.0.0.1 until disposed. */
export class Throttle implements AsyncDisposable {
  #requests = 0;
  #bytes = 0;
  /** When the link is free again, in milliseconds of performance.now(). */
  #linkFreeAt = 0;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(private readonly options: ThrottleOptions) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => this.#forward(request),
    );
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  traffic(): Traffic {
    return { requests: this.#requests, bytes: this.#bytes };
  }

  reset(): void {
    this.#requests = 0;
    this.#bytes = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #forward(request: Request): Promise<Response> {
    this.#requests++;
    const url = new URL(request.url);
    await sleep(this.options.delayMs);
    const response = await fetch(`${this.options.upstream}${url.pathname}${url.search}`, {
      method: request.method,
      headers: request.headers,
      body: request.body,
      redirect: "manual",
    });
    const body = response.body?.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: async (chunk, controller) => {
          for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
            const piece = chunk.subarray(at, at + PIECE_BYTES);
            await this.#occupy(piece.length);
            this.#bytes += piece.length;
            controller.enqueue(piece);
          }
        },
      }),
    );
    return new Response(body ?? null, { status: response.status, headers: response.headers });
  }

  /** Waits until the link has carried `bytes` more. */
  async #occupy(bytes: number): Promise<void> {
    const now = performance.now();
    const start = Math.max(now, this.#linkFreeAt);
    this.#linkFreeAt = start + (bytes / this.options.bytesPerSecond) * 1000;
    await sleep(this.#linkFreeAt - now);
  }
}

/** Waits; timers below a millisecond are skipped, the link's clock makes up for them. */
function sleep(ms: number): Promise<void> {
  return ms < 1 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}

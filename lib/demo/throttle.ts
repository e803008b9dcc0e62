/**
 * A reverse proxy that limits bandwidth, delays each request and counts traffic. In front of a loopback registry, it
 * simulates the slow link of a cold start.
 *
 * @module
 */
import { delay } from "../base/abort.ts";

/** Traffic since the last {@link Throttle.reset}. */
export interface Traffic {
  readonly requests: number;
  /** Bytes of response bodies. */
  readonly bytes: number;
}

/** Properties of the simulated link. */
export interface ThrottleOptions {
  /** Target of requests: `http://127.0.0.1:PORT`. */
  readonly upstream: string;
  /** Bandwidth shared by all responses; Infinity for no limit. */
  readonly bytesPerSecond: number;
  /** Delay before each response starts. */
  readonly delayMs: number;
}

/** Responses are cut into pieces of this size, so that parallel ones share the link fairly. */
const PIECE_BYTES = 16 * 1024;

/** The proxy, listening on a free port of 127.0.0.1 until disposed. */
export class Throttle implements AsyncDisposable {
  #requests = 0;
  #bytes = 0;
  /** Time at which the link is free again, in milliseconds of performance.now(). */
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

  /** Waits until the link has transferred another `bytes`. */
  async #occupy(bytes: number): Promise<void> {
    const now = performance.now();
    const start = Math.max(now, this.#linkFreeAt);
    this.#linkFreeAt = start + (bytes / this.options.bytesPerSecond) * 1000;
    await sleep(this.#linkFreeAt - now);
  }
}

/** Waits. Delays below a millisecond are skipped; the link's clock compensates for them. */
async function sleep(ms: number): Promise<void> {
  if (ms >= 1) await delay(ms);
}

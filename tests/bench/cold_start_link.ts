/**
 * The link of cold_start_bench.ts, as a separate process: a registry with one repository behind a shared bandwidth
 * limit and a delay per request.
 *
 * `deno run -A cold_start_link.ts FOLDER BYTES_PER_SECOND DELAY_MS`; 0 bytes: no limit. Serves FOLDER's files as blobs.
 * Prints its port. `GET /_log` returns the requests since the last call, as JSON.
 *
 * @module
 */
const [folder = "", rateText = "0", delayText = "0"] = Deno.args;
const bytesPerSecond = Number(rateText);
const delayMs = Number(delayText);

/** Bytes sent at once; small, so that responses share the link fairly. */
const PIECE_BYTES = 16 * 1024;

/** Maximum lag that the link may catch up on, so that late timers do not reduce its bandwidth. */
const CREDIT_MS = 50;

/** A request for data. Times in milliseconds since the log was last read. */
export interface LinkRequest {
  readonly offset: number;
  readonly length: number;
  readonly startMs: number;
  /** Bytes sent. */
  sent: number;
  endMs: number;
}

let log: LinkRequest[] = [];
let since = performance.now();
let freeAt = 0;
const blobs = new Map<string, Uint8Array<ArrayBuffer>>();

function blobOf(path: string): Uint8Array<ArrayBuffer> | undefined {
  const id = /sha256:([0-9a-f]{64})$/.exec(path)?.[1];
  if (id === undefined) return undefined;
  let bytes = blobs.get(id);
  if (bytes === undefined) blobs.set(id, bytes = Deno.readFileSync(`${folder}/${id}`));
  return bytes;
}

const sleep = (ms: number) => ms < 1 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));

function bodyOf(bytes: Uint8Array<ArrayBuffer>, entry: LinkRequest): BodyInit {
  if (bytesPerSecond === 0) {
    entry.sent = bytes.length;
    entry.endMs = performance.now() - since;
    return bytes;
  }
  let at = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = bytes.subarray(at, at += PIECE_BYTES);
      const now = performance.now();
      freeAt = Math.max(now - CREDIT_MS, freeAt) + piece.length / bytesPerSecond * 1000;
      await sleep(freeAt - now);
      if (piece.length > 0) controller.enqueue(piece);
      entry.sent += piece.length;
      entry.endMs = performance.now() - since;
      if (at >= bytes.length) controller.close();
    },
  }, { highWaterMark: 0 });
}

async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === "/_log") {
    const seen = log;
    log = [];
    since = performance.now();
    return Response.json(seen);
  }
  await sleep(delayMs);
  const bytes = blobOf(pathname);
  if (bytes === undefined) return new Response(null, { status: pathname === "/v2/" ? 200 : 404 });
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
  if (request.method === "HEAD" || range === null) {
    return new Response(request.method === "HEAD" ? null : bytes, {
      headers: { "content-length": String(bytes.length) },
    });
  }
  const from = Number(range[1]), to = Math.min(Number(range[2]) + 1, bytes.length);
  const startMs = performance.now() - since;
  const entry = { offset: from, length: to - from, startMs, sent: 0, endMs: startMs };
  log.push(entry);
  return new Response(bodyOf(bytes.subarray(from, to), entry), {
    status: 206,
    headers: {
      "content-length": String(to - from),
      "content-range": `bytes ${from}-${to - 1}/${bytes.length}`,
    },
  });
}

const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
console.log(server.addr.port);

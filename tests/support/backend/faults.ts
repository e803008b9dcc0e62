/**
 * How blob servers misbehave in tests, and how they answer range requests otherwise.
 *
 * Uses node:http, since half of the faults concern the connection.
 *
 * @module
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** One kind of misbehaviour. */
export type Fault =
  /** An answer without data. */
  | {
    readonly kind: "status";
    readonly status: number;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  }
  /** The right head, then this many bytes, then the connection is closed. */
  | { readonly kind: "truncate"; readonly keep: number }
  /** A complete answer with fewer (or more) bytes than requested. */
  | { readonly kind: "resize"; readonly by: number }
  /** The whole blob with status 200; after this many bytes only once the promise is resolved. */
  | { readonly kind: "whole"; readonly hold?: { readonly after: number; readonly until: Promise<void> } }
  /** The right bytes with another Content-Range; undefined: without one. */
  | { readonly kind: "content-range"; readonly value: string | undefined }
  /** No answer, or nothing after this many bytes, until the client disconnects. */
  | { readonly kind: "stall"; readonly after?: number }
  /** The right answer, this many bytes of its body at a time. */
  | { readonly kind: "drip"; readonly bytes: number; readonly everyMs: number }
  /** The connection is closed before the answer. */
  | { readonly kind: "reset" }
  /** Every byte of the answer is changed. */
  | { readonly kind: "corrupt" }
  | { readonly kind: "redirect"; readonly location: string }
  /** The right bytes with chunked encoding, without a Content-Length. */
  | { readonly kind: "chunked" }
  /** The right bytes from an HTTP/1.0 server, which closes the connection afterwards. */
  | { readonly kind: "http-1.0" }
  /** This text instead of an answer, then `endless` repeated as fast as the client reads. */
  | { readonly kind: "raw"; readonly text: string; readonly endless?: string };

/** Applies faults that need no blob. Returns true if the request was answered completely. */
export function answerAtOnce(fault: Fault | undefined, response: ServerResponse): boolean {
  switch (fault?.kind) {
    case "status":
      end(response, fault.status, fault.headers ?? {}, fault.body ?? "");
      return true;
    case "redirect":
      end(response, 307, { location: fault.location }, "");
      return true;
    case "reset":
      response.socket?.destroy();
      return true;
    case "raw":
      writeRaw(response.socket, fault.text, fault.endless);
      return true;
    case "stall":
      return fault.after === undefined;
    default:
      return false;
  }
}

/** Answers with the blob or the requested range of it, modified as `fault` says. */
export function answerRange(
  blob: Uint8Array,
  method: string,
  rangeHeader: string,
  fault: Fault | undefined,
  response: ServerResponse,
): void {
  if (method === "HEAD") return end(response, 200, {}, blob.length);
  if (fault?.kind === "whole") return whole(blob, fault, response);
  const range = /^bytes=(\d+)-(\d+)$/.exec(rangeHeader);
  const [first, last] = range === null
    ? [0, blob.length - 1]
    : [Number(range[1]), Math.min(Number(range[2]), blob.length - 1)];
  if (range !== null && first > last) return end(response, 416, {}, "");
  const status = range === null ? 200 : 206;
  const headers: Record<string, string> = range === null
    ? {}
    : { "content-range": `bytes ${first}-${last}/${blob.length}` };
  let body = blob.slice(first, last + 1);
  if (fault?.kind === "content-range") {
    if (fault.value === undefined) delete headers["content-range"];
    else headers["content-range"] = fault.value;
  }
  if (fault?.kind === "corrupt") body = body.map((byte) => byte ^ 0xff);
  if (fault?.kind === "resize") {
    const resized = new Uint8Array(body.length + fault.by);
    resized.set(body.subarray(0, resized.length));
    body = resized;
  }
  if (fault?.kind === "drip") return drip(body, headers, fault, response);
  if (fault?.kind === "chunked") {
    response.writeHead(206, headers);
    response.write(body.subarray(0, body.length >> 1));
    response.end(body.subarray(body.length >> 1));
    return;
  }
  if (fault?.kind === "http-1.0") {
    response.socket?.write(`HTTP/1.0 206 Partial\r\nContent-Range: ${headers["content-range"]}\r\n\r\n`);
    response.socket?.end(body);
    return;
  }
  if (fault?.kind !== "truncate" && fault?.kind !== "stall") return end(response, status, headers, body);
  response.writeHead(status, { ...headers, "content-length": body.length });
  const part = body.subarray(0, fault.kind === "stall" ? fault.after : fault.keep);
  response.write(part, () => {
    if (fault.kind === "truncate") response.socket?.destroy();
  });
}

function whole(blob: Uint8Array, { hold }: Extract<Fault, { kind: "whole" }>, response: ServerResponse): void {
  if (hold === undefined) return end(response, 200, {}, blob);
  response.writeHead(200, { "content-length": blob.length });
  response.write(blob.subarray(0, hold.after));
  hold.until.then(() => response.end(blob.subarray(hold.after)));
}

function drip(
  body: Uint8Array,
  headers: Record<string, string>,
  { bytes, everyMs }: Extract<Fault, { kind: "drip" }>,
  response: ServerResponse,
): void {
  response.writeHead(206, { ...headers, "content-length": body.length });
  let sent = 0;
  const timer = setInterval(() => {
    response.write(body.subarray(sent, sent += bytes));
    if (sent >= body.length) response.end();
  }, everyMs);
  response.once("close", () => clearInterval(timer));
}

function writeRaw(socket: Socket | null, text: string, endless: string | undefined): void {
  if (socket === null) return;
  const more = () => {
    if (endless !== undefined && !socket.destroyed) socket.write(endless, more);
  };
  socket.on("error", () => socket.destroy());
  socket.write(text, more);
}

/** Ends a response; a number as body is the Content-Length of an answer to HEAD. */
export function end(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: string | Uint8Array | number,
): void {
  const length = typeof body === "number"
    ? body
    : typeof body === "string"
    ? new TextEncoder().encode(body).length
    : body.length;
  response.writeHead(status, { ...headers, "content-length": length });
  if (typeof body === "number") response.end();
  else response.end(body);
}

/**
 * A request as bytes, and what a way through a proxy makes of it.
 *
 * @module
 */
import { VERSION } from "../../base/version.ts";
import type { Peer } from "./connection_error.ts";
import type { ProxyRoute } from "./proxy.ts";

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  readonly url: URL;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | BodyStream;
}

/** A body that is not in memory. */
export interface BodyStream {
  readonly length: number;
  /** Its bytes from the first one; asked again when the request is sent again. */
  open(): AsyncIterable<Uint8Array>;
}

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** What would end a line, or is no byte. */
const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * The head of a request, and its body unless that is a stream.
 *
 * Directly and through tunnels the host is asked for a path; a proxy that does the asking gets the whole URL.
 *
 * @throws {TypeError} for a header that is none: a defect of the caller, as settings are checked where they are read
 */
export function requestBytes(request: HttpRequest, route: ProxyRoute | undefined): Uint8Array<ArrayBuffer> {
  const { method, url } = request;
  const body = typeof request.body === "string" ? new TextEncoder().encode(request.body) : request.body;
  const isAsked = route === undefined || isTunnel(url, route);
  const target = new URL(url);
  if (route?.asHttp) target.protocol = "http:";
  target.username = target.password = target.hash = "";
  const authorization = isAsked ? undefined : route.proxy.authorization;
  const headers: Record<string, string> = {
    host: target.host,
    "user-agent": `nydus-gd/${VERSION}`,
    "accept-encoding": "identity",
    ...request.headers,
    ...(body === undefined ? {} : { "content-length": String(body.length) }),
    ...(isAsked ? {} : route.headers),
    ...(authorization === undefined ? {} : { "proxy-authorization": authorization }),
  };
  const lines = [`${method} ${isAsked ? target.pathname + target.search : target.href} HTTP/1.1`];
  for (const [name, value] of Object.entries(headers)) {
    if (!NAME.test(name) || NOT_IN_VALUE.test(value)) throw new TypeError(`Cannot send header ${JSON.stringify(name)}`);
    lines.push(`${name}: ${value}`);
  }
  const head = `${lines.join("\r\n")}\r\n\r\n`;
  const stored = body instanceof Uint8Array ? body : new Uint8Array(0);
  const bytes = new Uint8Array(head.length + stored.length);
  for (let i = 0; i < head.length; i++) bytes[i] = head.charCodeAt(i);
  bytes.set(stored, head.length);
  return bytes;
}

/** Whether the proxy only forwards bytes. */
export function isTunnel(url: URL, route: ProxyRoute): boolean {
  return url.protocol === "https:" && !route.asHttp;
}

/** Whether the connection that the request itself is written to is TLS. */
export function speaksTls(url: URL, route: ProxyRoute | undefined): boolean {
  return route === undefined || isTunnel(url, route) ? url.protocol === "https:" : route.proxy.secure;
}

/** Whose certificate, address and connection it is. */
export function peerOf(url: URL, route: ProxyRoute | undefined): Peer {
  if (route === undefined || isTunnel(url, route)) return { name: url.host, hostname: url.hostname };
  return { name: `proxy ${route.proxy.name}`, hostname: route.proxy.hostname };
}

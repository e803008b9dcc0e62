/**
 * Serializes HTTP requests, for direct connections and for proxies.
 *
 * @module
 */
import { VERSION } from "../../base/version.ts";
import type { Peer } from "./connection_error.ts";
import type { ProxyRoute } from "./proxy.ts";

/** An HTTP request. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  readonly url: URL;
  /** Header values by lower-case name. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | BodyStream;
}

/** A body that is not in memory. */
export interface BodyStream {
  readonly length: number;
  /** Returns the body from its first byte; called again for each retry. */
  open(): AsyncIterable<Uint8Array>;
}

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Characters that would end a line or are not a single byte. */
const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Serializes the head of a request, and its body unless that is a stream.
 *
 * Direct and tunnelled requests carry the path; a forwarding proxy gets the whole URL.
 *
 * @throws {TypeError} for an invalid header: a bug of the caller, since settings are checked where they are read
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

/** Whether the connection that carries the request itself uses TLS. */
export function speaksTls(url: URL, route: ProxyRoute | undefined): boolean {
  return route === undefined || isTunnel(url, route) ? url.protocol === "https:" : route.proxy.secure;
}

/** Returns the peer of the connection that carries the request. */
export function peerOf(url: URL, route: ProxyRoute | undefined): Peer {
  if (route === undefined || isTunnel(url, route)) return { name: url.host, hostname: url.hostname };
  return { name: `proxy ${route.proxy.name}`, hostname: route.proxy.hostname, remedy: route.proxy.remedy };
}

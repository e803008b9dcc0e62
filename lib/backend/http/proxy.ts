/**
 * A proxy, and the rules that say which requests go through it.
 *
 * @module
 */
import type { ReadOptions } from "../blob_source.ts";

/** Where a proxy is. Its user and password are in `authorization` and nowhere else. */
export interface ProxyAddress {
  /** "10.0.0.1:3128": for messages. */
  readonly name: string;
  readonly hostname: string;
  readonly port: number;
  /** The connection to the proxy itself is TLS. */
  readonly secure: boolean;
  /** Proxy-Authorization. */
  readonly authorization: string | undefined;
}

/** One way through a proxy. */
export interface ProxyRoute {
  readonly proxy: ProxyAddress;
  /** Https URLs are asked for as http URLs: the proxy does TLS itself. */
  readonly asHttp?: boolean;
  /** For the proxy alone; they are left out where it cannot see them. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Answers from 500 on are errors of the proxy and not read. */
  readonly refusesServerErrors?: boolean;
}

/** How one exchange may be routed. */
export interface RoutingOptions extends ReadOptions {
  /** Leaves the proxy out where its rule allows that: the last attempt of a reader. */
  readonly bypassProxy?: boolean;
}

/** Which requests go through a proxy. */
export interface ProxyRule {
  /** Has `send` send the request, through a proxy or (undefined) directly, and once more where the rule says so. */
  send<T>(
    url: URL,
    options: RoutingOptions,
    send: (route: ProxyRoute | undefined) => Promise<T>,
  ): Promise<T>;
}

/**
 * "http://user:password@10.0.0.1:3128"; without a scheme it is http. Undefined for what is no address of an HTTP proxy.
 * The text may hold a password: show neither it nor parts of it.
 */
export function parseProxyAddress(text: string): ProxyAddress | undefined {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(full)) return undefined;
  const url = new URL(full);
  if ((url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") return undefined;
  const secure = url.protocol === "https:";
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  return {
    name: `${url.hostname}:${port}`,
    hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port,
    secure,
    authorization: authorizationOf(url),
  };
}

function authorizationOf({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  const plain = `${decode(username)}:${decode(password)}`;
  return `Basic ${new TextEncoder().encode(plain).toBase64()}`;
}

/** A stray % stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

/**
 * Proxy addresses, routes, and the interface of proxy rules.
 *
 * @module
 */
import type { ReadOptions } from "../blob_source.ts";

/** The address of a proxy. User and password appear only in `authorization`. */
export interface ProxyAddress {
  /** "10.0.0.1:3128", for messages. */
  readonly name: string;
  readonly hostname: string;
  readonly port: number;
  /** Whether the connection to the proxy itself uses TLS. */
  readonly secure: boolean;
  /** Value of Proxy-Authorization. */
  readonly authorization: string | undefined;
  /** What the user can change if the proxy cannot be used: "correct HTTPS_PROXY". */
  readonly remedy: string;
}

/** A route through a proxy. */
export interface ProxyRoute {
  readonly proxy: ProxyAddress;
  /** Whether https URLs are requested as http URLs: the proxy itself speaks TLS to the host. */
  readonly asHttp?: boolean;
  /** Headers for the proxy itself, omitted in a tunnel, where it cannot see them. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether responses from 500 on count as failures of the proxy and are not consumed. */
  readonly refusesServerErrors?: boolean;
}

/** Routing of one exchange. */
export interface RoutingOptions extends ReadOptions {
  /** Bypasses the proxy if its rule allows that. Set for the last attempt of an on-demand read. */
  readonly bypassProxy?: boolean;
}

/** Decides which requests go through a proxy. */
export interface ProxyRule {
  /** Calls `send` with a proxy route or, to connect directly, with undefined; may call it again as a fallback. */
  send<T>(
    url: URL,
    options: RoutingOptions,
    send: (route: ProxyRoute | undefined) => Promise<T>,
  ): Promise<T>;
}

/**
 * Parses "http://user:password@10.0.0.1:3128"; the default scheme is http. Returns undefined if it is not the address
 * of an HTTP proxy. The text may contain a password, so callers must not print any part of it.
 *
 * @param remedy see {@link ProxyAddress}
 */
export function parseProxyAddress(text: string, remedy = "correct proxy.url"): ProxyAddress | undefined {
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
    remedy,
  };
}

function authorizationOf({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  const plain = `${decode(username)}:${decode(password)}`;
  return `Basic ${new TextEncoder().encode(plain).toBase64()}`;
}

/** Decodes percent escapes; leaves text with a stray % unchanged. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

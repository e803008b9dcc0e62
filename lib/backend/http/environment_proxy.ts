/**
 * Proxies from HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in upper or lower case, as Docker and other Go programs read them.
 *
 * ```
 * HTTPS_PROXY=http://user:password@proxy:3128     for https URLs; HTTP_PROXY for http URLs
 * NO_PROXY=example.com,.inner.net,10.0.0.0/8,registry:5000,*
 *          with its subdomains · only subdomains · a network · that port only · everything
 * ```
 * Loopback is never reached through a proxy. Source: golang.org/x/net/http/httpproxy and its documentation of NO_PROXY.
 *
 * @module
 */
import { BlockList, isIP } from "node:net";
import { NydusGdError } from "../../base/errors.ts";
import { isLoopback } from "./loopback.ts";
import { parseProxyAddress, type ProxyAddress, type ProxyRoute, type ProxyRule, type RoutingOptions } from "./proxy.ts";

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

type Exception = (host: string, port: string) => boolean;

/** Routes each request by the host and scheme of its URL. Does not bypass a proxy that fails. */
export class EnvironmentProxy implements ProxyRule {
  readonly #proxies: Readonly<Record<string, ProxyAddress | undefined>>;
  readonly #exceptions: readonly Exception[];

  /** @throws {NydusGdError} "config" for a proxy that is not an http:// or https:// URL; names the variable */
  constructor(environment: Environment) {
    this.#proxies = { "https:": addressIn(environment, "HTTPS_PROXY"), "http:": addressIn(environment, "HTTP_PROXY") };
    const [, noProxy = ""] = find(environment, "NO_PROXY");
    this.#exceptions = noProxy.toLowerCase().split(/[\s,]+/).filter((entry) => entry !== "").map(parseException);
  }

  /** Returns the proxy for a URL; undefined: connect directly. */
  proxyFor(url: URL): ProxyAddress | undefined {
    const proxy = this.#proxies[url.protocol];
    if (proxy === undefined || isLoopback(url.host)) return undefined;
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
    const port = url.port || (url.protocol === "https:" ? "443" : "80");
    return this.#exceptions.some((matches) => matches(host, port)) ? undefined : proxy;
  }

  send<T>(url: URL, _options: RoutingOptions, send: (route: ProxyRoute | undefined) => Promise<T>): Promise<T> {
    const proxy = this.proxyFor(url);
    return send(proxy && { proxy });
  }
}

/** Returns the first non-empty spelling of a variable: upper case, then lower case. */
function find(environment: Environment, name: string): [name: string, value: string | undefined] {
  for (const spelling of [name, name.toLowerCase()]) {
    const value = environment[spelling]?.trim();
    if (value) return [spelling, value];
  }
  return [name, undefined];
}

function addressIn(environment: Environment, variable: string): ProxyAddress | undefined {
  const [name, value] = find(environment, variable);
  if (value === undefined) return undefined;
  const address = parseProxyAddress(value, `correct ${name}, or name hosts to ask directly in NO_PROXY`);
  if (address !== undefined) return address;
  throw new NydusGdError("config", `Cannot use ${name}: it is not an http:// or https:// URL`, {
    hint: `unset ${name}`,
  });
}

/** Parses a lower-case entry of NO_PROXY. */
function parseException(entry: string): Exception {
  if (entry === "*") return () => true;
  const network = parseNetwork(entry);
  if (network !== undefined) return network;
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|(.*?))(?::(\d+))?$/.exec(entry) ?? [];
  const isPort = (actual: string) => port === undefined || port === actual;
  // A host with more than one colon is an IPv6 address without brackets.
  const name = isIP(entry) === 6 ? entry : bracketed ?? plain ?? "";
  if (isIP(name) !== 0) return (host, actual) => host === name && (name === entry || isPort(actual));
  const suffix = name.replace(/^\*?\.?/, ".");
  const isWithRoot = !/^\*?\./.test(name);
  return (host, actual) => isPort(actual) && (host.endsWith(suffix) || (isWithRoot && host === suffix.slice(1)));
}

function parseNetwork(entry: string): Exception | undefined {
  const [, address = "", bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
  const version = isIP(address);
  if (version === 0 || Number(bits) > (version === 4 ? 32 : 128)) return undefined;
  const family = version === 4 ? "ipv4" : "ipv6";
  const network = new BlockList();
  network.addSubnet(address, Number(bits), family);
  return (host) => isIP(host) === version && network.check(host, family);
}

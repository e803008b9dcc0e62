/**
 * The pools of connections: one for each way to check certificates and each proxy.
 *
 * Within a pool connections are kept by host, at most `parallelPerHost` of them idle, and given up after
 * {@link IDLE_CONNECTION_MS}. How many are in use at a time is the client's business.
 *
 * @module
 */
import http from "node:http";
import https from "node:https";
import { getCACertificates } from "node:tls";
import type { FetchOptions } from "./fetch_options.ts";
import { lookup } from "./lookup.ts";
import type { ProxyRoute } from "./proxy.ts";
import { TunnelAgent } from "./tunnel_agent.ts";

/** Which certificates are believed, and which is shown. */
export interface TlsOptions {
  readonly skipVerify: boolean;
  /** PEM texts, believed beside the system's roots. */
  readonly caCertificates: readonly string[];
  readonly clientCertificate?: ClientCertificate | undefined;
}

/** What proves who we are to a host that asks for it. */
export interface ClientCertificate {
  /** The only host that it is shown to. */
  readonly hostname: string;
  /** PEM texts. */
  readonly certificate: string;
  readonly key: string;
}

/** {@link TlsOptions} as node:tls takes them. */
export type SecureContextOptions = Pick<https.AgentOptions, "ca" | "cert" | "key" | "rejectUnauthorized">;

const DEFAULT_TLS: TlsOptions = { skipVerify: false, caCertificates: [] };

/** Connections are kept this long without use: under the idle limit of common servers and load balancers. */
const IDLE_CONNECTION_MS = 50_000;

/** All pools of a client. Disposing closes their connections. */
export class Agents implements Disposable {
  readonly #agents = new Map<string, http.Agent>();

  constructor(private readonly options: FetchOptions) {}

  /** The pool for requests to `url` through a proxy, or over a Unix socket of that path. */
  of(url: URL, tls: TlsOptions = DEFAULT_TLS, way?: ProxyRoute | string): http.Agent {
    const { clientCertificate, ...shown } = tls;
    const isShown = clientCertificate?.hostname === url.hostname;
    const applied: TlsOptions = isShown ? { ...shown, clientCertificate } : shown;
    const isSecure = url.protocol === "https:";
    const { proxy, asHttp } = typeof way === "object" ? way : {};
    const key = JSON.stringify([isSecure, isSecure || proxy?.secure ? applied : {}, proxy ?? way, asHttp]);
    let agent = this.#agents.get(key);
    if (agent === undefined) this.#agents.set(key, agent = this.#make(isSecure, applied, way));
    return agent;
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  #make(isSecure: boolean, tls: TlsOptions, way: ProxyRoute | string | undefined): http.Agent {
    const { parallelPerHost, connectTimeoutMs } = this.options;
    const common = { keepAlive: true, maxFreeSockets: parallelPerHost, timeout: IDLE_CONNECTION_MS, lookup };
    if (typeof way !== "object") {
      const direct = way === undefined ? common : { ...common, socketPath: way };
      return isSecure ? new https.Agent({ ...direct, ...secureContext(tls) }) : new http.Agent(direct);
    }
    const { proxy, asHttp } = way;
    const proxyTls = proxy.secure ? secureContext({ ...tls, clientCertificate: undefined }) : {};
    if (isSecure && !asHttp) {
      return new TunnelAgent(common, { proxy, proxyTls, hostTls: secureContext(tls), connectTimeoutMs });
    }
    return proxy.secure ? new https.Agent({ ...common, ...proxyTls }) : new http.Agent(common);
  }
}

/** Where one idle connection was closed by its server, the others are likely to be. */
export function closeIdle(agent: http.Agent): void {
  for (const sockets of Object.values(agent.freeSockets)) {
    for (const socket of sockets ?? []) socket.destroy();
  }
}

/** The machine's own roots, as an administrator changes them; those of the runtime where it has none. */
function secureContext({ skipVerify, caCertificates, clientCertificate }: TlsOptions): SecureContextOptions {
  const own = clientCertificate === undefined
    ? {}
    : { cert: clientCertificate.certificate, key: clientCertificate.key };
  if (skipVerify) return { rejectUnauthorized: false, ...own };
  const system = getCACertificates("system");
  // Each new connection reads the whole list again, at 0.1 ms a certificate: no list is added to another.
  return { ca: [...(system.length > 0 ? system : getCACertificates("bundled")), ...caCertificates], ...own };
}

/**
 * Connections to TLS hosts through an HTTP proxy, kept alive like direct ones.
 *
 * ```
 * proxy ◄─ CONNECT host:443 ─ 200 ─► TLS with the host, which the proxy cannot read
 * ```
 * The runtime's own agent leaves the connection open when a proxy accepts it and then says nothing; here it
 * ends with the limit for connecting, or with the agent. Source: RFC 9110 section 9.3.6.
 *
 * @module
 */
import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import type { SecureContextOptions } from "./agents.ts";
import { connectionError, TunnelError } from "./connection_error.ts";
import type { ProxyAddress } from "./proxy.ts";

type Callback = (error: Error | null, socket: Duplex) => void;

/** What makes a tunnel. */
export interface TunnelOptions {
  readonly proxy: ProxyAddress;
  /** How the proxy's own certificate is checked, where the way to it is TLS. */
  readonly proxyTls: SecureContextOptions;
  /** How the certificate of the host is checked. */
  readonly hostTls: SecureContextOptions;
  /** For the proxy and the host together; 0: none. */
  readonly connectTimeoutMs: number;
}

/** Makes each new connection by a CONNECT. */
export class TunnelAgent extends https.Agent {
  readonly #pending = new Set<() => void>();

  constructor(options: http.AgentOptions, private readonly tunnel: TunnelOptions) {
    super(options);
  }

  override createConnection(target: https.RequestOptions, callback?: Callback): Duplex {
    if (callback === undefined) throw new TypeError("Cannot connect through a proxy: nobody waits for the connection");
    this.#connect(target, callback);
    return undefined as unknown as Duplex; // tells the agent to wait for the callback
  }

  override destroy(): void {
    for (const giveUp of this.#pending) giveUp();
    super.destroy();
  }

  #connect(target: https.RequestOptions, callback: Callback): void {
    const { proxy, hostTls, connectTimeoutMs } = this.tunnel;
    const request = this.#request(target);
    let current: { destroy(): unknown } = request;
    let settled = false;
    const isFirst = () => {
      if (settled) return false;
      clearTimeout(timer);
      this.#pending.delete(giveUp);
      return settled = true;
    };
    const fail = (error: Error) => {
      if (!isFirst()) return;
      current.destroy();
      (callback as (error: Error) => void)(error); // there is no socket to give
    };
    const refuse = (state: string) => fail(new TunnelError(`proxy ${proxy.name} ${state}`));
    const giveUp = () => refuse("was given up");
    this.#pending.add(giveUp);
    const timer = connectTimeoutMs > 0
      ? setTimeout(() => refuse(`made no connection within ${connectTimeoutMs} ms`), connectTimeoutMs)
      : undefined;

    const peer = { name: `proxy ${proxy.name}`, hostname: proxy.hostname };
    request.on("error", (error) => fail(new TunnelError(connectionError(error, peer, false).state)));
    request.once("response", ({ statusCode }) => refuse(`answers CONNECT with HTTP ${statusCode}`));
    request.once("connect", ({ statusCode }, tunnel) => {
      current = tunnel;
      if (statusCode !== 200) return refuse(refusal(statusCode, proxy));
      const host = target.host ?? "";
      const servername = isIP(host) === 0 ? { servername: host } : {};
      const socket = connectTls({ ...hostTls, ...servername, host, socket: tunnel });
      current = socket;
      socket.once("secureConnect", () => isFirst() && callback(null, socket));
      socket.on("error", fail);
      socket.once("close", () => fail(Object.assign(new Error("closed"), { code: "ECONNRESET" })));
    });
    request.end();
  }

  #request({ host, port }: https.RequestOptions): http.ClientRequest {
    const { proxy, proxyTls } = this.tunnel;
    const authority = `${isIP(host ?? "") === 6 ? `[${host}]` : host}:${port}`;
    const headers = {
      host: authority,
      ...(proxy.authorization === undefined ? {} : { "proxy-authorization": proxy.authorization }),
    };
    const options = {
      host: proxy.hostname,
      port: proxy.port,
      method: "CONNECT",
      path: authority,
      headers,
      agent: false,
    } as const;
    return proxy.secure ? https.request({ ...options, ...proxyTls }) : http.request(options);
  }
}

function refusal(status: number | undefined, proxy: ProxyAddress): string {
  if (status !== 407) return `answers CONNECT with HTTP ${status}`;
  return proxy.authorization === undefined ? "wants user and password" : "does not accept its user and password";
}

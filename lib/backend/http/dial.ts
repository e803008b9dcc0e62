/**
 * Opens connections: TCP, Unix socket, TLS, or TLS through a proxy's tunnel.
 *
 * ```
 * proxy ◄─ CONNECT host:443 ─ 200 ─► TLS with the host, which the proxy cannot read
 * ```
 * Source for tunnels: RFC 9110 section 9.3.6.
 *
 * @module
 */
import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { connectionError, disconnect, TunnelError } from "./connection_error.ts";
import { lookup } from "./lookup.ts";
import { placed } from "./placed_socket.ts";
import type { ProxyAddress } from "./proxy.ts";
import { ResponseParser } from "./response_parser.ts";
import type { SecureContextOptions } from "./tls.ts";

/** What to connect to, and how. */
export interface Destination {
  readonly hostname: string;
  readonly port: number;
  /** Path of a Unix socket, used instead of host name and port. */
  readonly socketPath?: string | undefined;
  /** Undefined: no TLS. */
  readonly tls: SecureContextOptions | undefined;
  /** The proxy whose tunnel carries the TLS connection. */
  readonly tunnel?: { readonly proxy: ProxyAddress; readonly tls: SecureContextOptions } | undefined;
}

/** Adds the option `onread` of node:tls, which its type declarations lack. */
interface PlacedOptions extends ConnectionOptions {
  readonly onread: OnReadOpts;
}

/** A connection attempt in progress. */
export interface Dialing {
  /** Rejects with the error of the socket, or a {@link TunnelError}. */
  readonly socket: Promise<Socket>;
  giveUp(): void;
}

/** Starts connecting. Releases everything if the attempt fails or is given up. */
export function dial(destination: Destination): Dialing {
  const { hostname, port, socketPath, tls, tunnel } = destination;
  if (tls === undefined) {
    const to = socketPath === undefined ? { host: hostname, port, lookup } : { path: socketPath };
    return dialTcp(placed((onread) => connectTcp({ ...to, onread })));
  }
  if (tunnel === undefined) return startTls(hostname, tls, { host: hostname, port, lookup });
  return dialTunnel(destination, tls, tunnel);
}

function dialTcp(socket: Socket): Dialing {
  return { socket: established(socket, "connect"), giveUp: () => socket.destroy() };
}

function dialTls(socket: Socket): Dialing {
  return { socket: established(socket, "secureConnect"), giveUp: () => socket.destroy() };
}

/** The transport under a TLS connection. */
type Carrier = { readonly socket: Socket } | {
  readonly host: string;
  readonly port: number;
  readonly lookup: typeof lookup;
};

function startTls(hostname: string, tls: SecureContextOptions, over: Carrier): Dialing {
  return dialTls(placed((onread) => {
    const options: PlacedOptions = { ...tlsOptions(hostname, tls, over), onread };
    return connectTls(options);
  }));
}

function tlsOptions(hostname: string, tls: SecureContextOptions, over: Carrier): ConnectionOptions {
  const servername = isIP(hostname) === 0 ? { servername: hostname } : {};
  return { ...tls, host: hostname, ...servername, ALPNProtocols: ["http/1.1"], ...over };
}

async function established(socket: Socket, event: "connect" | "secureConnect"): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const closed = () => reject(disconnect());
  socket.once(event, resolve);
  socket.once("error", reject);
  socket.once("close", closed);
  try {
    await promise;
  } catch (error) {
    socket.on("error", () => {}); // ignore further errors
    socket.destroy();
    throw error;
  }
  socket.off("error", reject);
  socket.off("close", closed);
  return socket;
}

function dialTunnel(
  { hostname, port }: Destination,
  tls: SecureContextOptions,
  tunnel: NonNullable<Destination["tunnel"]>,
): Dialing {
  const { proxy } = tunnel;
  const to = { host: proxy.hostname, port: proxy.port, lookup };
  // TLS reads the tunnel's socket by itself, so reads of that socket are not placed.
  let step = proxy.secure ? dialTls(connectTls(tlsOptions(proxy.hostname, tunnel.tls, to))) : dialTcp(connectTcp(to));
  let isGivenUp = false;
  const next = (dialing: Dialing) => {
    if (isGivenUp) dialing.giveUp();
    return (step = dialing).socket;
  };
  const connect = async () => {
    const peer = { name: `proxy ${proxy.name}`, hostname: proxy.hostname, remedy: proxy.remedy };
    let socket: Socket;
    try {
      socket = await step.socket;
      await next(askForTunnel(socket, hostname, port, proxy));
    } catch (error) {
      if (error instanceof TunnelError || !(error instanceof Error)) throw error;
      throw new TunnelError(connectionError(error, peer, "exchange").state, proxy.remedy);
    }
    return await next(startTls(hostname, tls, { socket }));
  };
  return {
    socket: connect(),
    giveUp: () => {
      isGivenUp = true;
      step.giveUp();
    },
  };
}

/** Asks the proxy to connect `socket` to the host. */
function askForTunnel(socket: Socket, hostname: string, port: number, proxy: ProxyAddress): Dialing {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const authority = `${isIP(hostname) === 6 ? `[${hostname}]` : hostname}:${port}`;
  const authorization = proxy.authorization === undefined ? [] : [`proxy-authorization: ${proxy.authorization}`];
  const parser = new ResponseParser("CONNECT", {
    head: ({ status }) =>
      status === 200 ? resolve(socket) : reject(new TunnelError(refusal(status, proxy), proxy.remedy)),
    data: () => {},
    end: () => {},
  });
  const take = (bytes: Uint8Array) => {
    try {
      parser.push(bytes);
    } catch (error) {
      reject(error);
    }
  };
  const closed = () => reject(disconnect());
  socket.on("data", take);
  socket.once("error", reject);
  socket.once("close", closed);
  socket.write([`CONNECT ${authority} HTTP/1.1`, `host: ${authority}`, ...authorization, "", ""].join("\r\n"));
  const settle = () => {
    socket.off("data", take);
    socket.off("error", reject);
    socket.off("close", closed);
  };
  const answered = promise.then((tunnel) => {
    settle();
    return tunnel;
  }, (error) => {
    settle();
    socket.on("error", () => {}); // ignore further errors
    socket.destroy();
    throw error;
  });
  return { socket: answered, giveUp: () => socket.destroy() };
}

function refusal(status: number, proxy: ProxyAddress): string {
  const state = status !== 407
    ? `answers CONNECT with HTTP ${status}`
    : proxy.authorization === undefined
    ? "requires user and password"
    : "does not accept its user and password";
  return `proxy ${proxy.name} ${state}`;
}

/**
 * Making a connection: TCP, a Unix socket, TLS, or TLS through the tunnel of a proxy.
 *
 * ```
 * proxy ◄─ CONNECT host:443 ─ 200 ─► TLS with the host, which the proxy cannot read
 * ```
 * Source for tunnels: RFC 9110 section 9.3.6.
 *
 * @module
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { connectionError, disconnect, TunnelError } from "./connection_error.ts";
import { lookup } from "./lookup.ts";
import { connectPlaced } from "./placed_socket.ts";
import type { ProxyAddress } from "./proxy.ts";
import { ResponseParser } from "./response_parser.ts";
import type { SecureContextOptions } from "./tls.ts";

/** Where to, and how. */
export interface Destination {
  readonly hostname: string;
  readonly port: number;
  /** A Unix socket in place of the two. */
  readonly socketPath?: string | undefined;
  /** Undefined: no TLS. */
  readonly tls: SecureContextOptions | undefined;
  /** TLS goes through the tunnel of a proxy. */
  readonly tunnel?: { readonly proxy: ProxyAddress; readonly tls: SecureContextOptions } | undefined;
}

/** A connection that is being made. */
export interface Dialing {
  /** Rejects with the error of the socket, or a {@link TunnelError}. */
  readonly socket: Promise<Socket>;
  giveUp(): void;
}

/** Begins to connect. Nothing of it is left when it fails or is given up. */
export function dial(destination: Destination): Dialing {
  const { hostname, port, socketPath, tls, tunnel } = destination;
  if (tls === undefined) {
    return dialTcp(connectPlaced(socketPath === undefined ? { host: hostname, port, lookup } : { path: socketPath }));
  }
  if (tunnel === undefined) return startTls(hostname, tls, { host: hostname, port, lookup });
  return dialTunnel(destination, tls, tunnel);
}

function dialTcp(socket: Socket): Dialing {
  return { socket: established(socket, "connect"), giveUp: () => socket.destroy() };
}

function startTls(
  hostname: string,
  tls: SecureContextOptions,
  over: { readonly socket: Socket } | { readonly host: string; readonly port: number; readonly lookup: typeof lookup },
): Dialing {
  const servername = isIP(hostname) === 0 ? { servername: hostname } : {};
  const socket = connectTls({ ...tls, host: hostname, ...servername, ALPNProtocols: ["http/1.1"], ...over });
  return { socket: established(socket, "secureConnect"), giveUp: () => socket.destroy() };
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
    socket.on("error", () => {}); // more of the same
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
  // TLS reads what is in the tunnel, by its own means
  let step = proxy.secure ? startTls(proxy.hostname, tunnel.tls, to) : dialTcp(connectTcp(to));
  let isGivenUp = false;
  const next = (dialing: Dialing) => {
    if (isGivenUp) dialing.giveUp();
    return (step = dialing).socket;
  };
  const connect = async () => {
    const peer = { name: `proxy ${proxy.name}`, hostname: proxy.hostname };
    let socket: Socket;
    try {
      socket = await step.socket;
      await next(askForTunnel(socket, hostname, port, proxy));
    } catch (error) {
      if (error instanceof TunnelError || !(error instanceof Error)) throw error;
      throw new TunnelError(connectionError(error, peer, false).state);
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

/** Has the proxy connect `socket` with the host. */
function askForTunnel(socket: Socket, hostname: string, port: number, proxy: ProxyAddress): Dialing {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const authority = `${isIP(hostname) === 6 ? `[${hostname}]` : hostname}:${port}`;
  const authorization = proxy.authorization === undefined ? [] : [`proxy-authorization: ${proxy.authorization}`];
  const parser = new ResponseParser("CONNECT", {
    head: ({ status }) => status === 200 ? resolve(socket) : reject(new TunnelError(refusal(status, proxy))),
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
    socket.on("error", () => {}); // more of the same
    socket.destroy();
    throw error;
  });
  return { socket: answered, giveUp: () => socket.destroy() };
}

function refusal(status: number, proxy: ProxyAddress): string {
  const state = status !== 407
    ? `answers CONNECT with HTTP ${status}`
    : proxy.authorization === undefined
    ? "wants user and password"
    : "does not accept its user and password";
  return `proxy ${proxy.name} ${state}`;
}

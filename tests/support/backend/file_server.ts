/**
 * A plain HTTP server of files by path, on a port or a Unix socket, that can be told to misbehave.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { answerAtOnce, answerRange, end, type Fault } from "./faults.ts";

/** The server, on a free loopback port or a Unix socket. */
export class FileServer implements AsyncDisposable {
  /** By path: "/blobs/3f2a…". */
  readonly files = new Map<string, Uint8Array>();
  /** Consumed from the front, one for each GET. */
  readonly faults: Fault[] = [];
  readonly requests: IncomingMessage[] = [];
  /** Number of connections accepted so far. */
  connections = 0;

  private constructor(private readonly server: Server) {
    server.on("connection", () => this.connections++);
    server.on("request", (request, response) => {
      this.requests.push(request);
      const { method = "", url = "", headers } = request;
      const fault = method === "GET" ? this.faults.shift() : undefined;
      if (answerAtOnce(fault, response)) return;
      const file = this.files.get(url);
      if (file === undefined) end(response, 404, {}, "no such file");
      else answerRange(file, method, headers.range ?? "", fault, response);
    });
  }

  /** Starts on a free loopback port, or on a Unix socket. @param tls PEM texts; serve TLS */
  static async start(
    socketPath?: string,
    tls?: { readonly certificate: string; readonly key: string },
  ): Promise<FileServer> {
    const server = tls === undefined ? createServer() : createTlsServer({ cert: tls.certificate, key: tls.key });
    const files = new FileServer(server);
    await new Promise<void>((resolve) => {
      if (socketPath === undefined) server.listen(0, "127.0.0.1", resolve);
      else server.listen(socketPath, resolve);
    });
    return files;
  }

  /** "127.0.0.1:PORT". */
  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }
}

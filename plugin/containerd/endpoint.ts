/**
 * Opens the endpoint for containerd. Only then loads gRPC.
 *
 * Clients that connect are greeted at once (greeter.ts); their calls wait until gRPC is loaded, images are taken over and
 * the snapshots are open.
 *
 * @module
 */
import { KeptSocket } from "./kept_socket.ts";
import { Listener } from "./listener.ts";
import type { SnapshotterServer } from "./serve_grpc.ts";

/** Serves the socket at `path` that an earlier daemon has left; undefined if there is none. Every other one is given up. */
export async function takeOverEndpoint(path: string | undefined): Promise<SnapshotterServer | undefined> {
  const socket = await KeptSocket.takeBack(path);
  return socket && await serverOf(socket);
}

/**
 * Listens at `path`.
 *
 * @throws {NydusGdError} "busy" if another process serves the socket, "usage" if the path is too long or not a socket
 */
export async function openEndpoint(path: string): Promise<SnapshotterServer> {
  return await serverOf(await KeptSocket.listen(path, "--snapshotter-socket"));
}

async function serverOf(socket: KeptSocket): Promise<SnapshotterServer> {
  const listener = new Listener(socket);
  const { SnapshotterServer } = await import("./serve_grpc.ts");
  return new SnapshotterServer(listener);
}

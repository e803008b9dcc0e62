/**
 * gRPC on a Unix socket that only its owner can reach.
 *
 * The socket is placed like those of HTTP endpoints (../placed_socket.ts). A call that its caller cancels, or whose
 * deadline passes, aborts what it waits for.
 *
 * @module
 */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { NydusGdError } from "../../lib/base/errors.ts";
import type { SnapshotStore } from "../../lib/snapshot/snapshot_store.ts";
import { type PlacedSocket, placeSocket, requireFreeSocket } from "../placed_socket.ts";
import { GrpcListener } from "./grpc_listener.ts";
import { codecOf, type Messages } from "./messages.ts";
import { listResponses, type UnaryMethod, unaryMethods } from "./service.ts";
import { statusOf } from "./status.ts";

const SERVICE = "containerd.services.snapshots.v1.Snapshots";

/** How long running calls may take after a stop. */
const STOP_GRACE_MS = 10_000;

/** A running snapshotter endpoint. */
export class SnapshotterServer implements AsyncDisposable {
  private constructor(private readonly server: Server, private readonly socket: PlacedSocket<GrpcListener>) {}

  /**
   * Serves `store` at `path` with mode 0600. Creates the folder if it is missing.
   *
   * @throws {NydusGdError} "busy" if another process serves the socket, "usage" if the path is too long or not a socket
   */
  static async start(path: string, store: SnapshotStore): Promise<SnapshotterServer> {
    await requireFreeSocket(path, "--snapshotter-socket");
    const server = new Server();
    const { definition, implementation } = serviceOf(store);
    server.addService(definition, implementation);
    return new SnapshotterServer(server, await placeSocket(path, (early) => new GrpcListener(early, server)));
  }

  /** Accepts no new calls, waits up to `graceMs` for running ones, then aborts them. */
  async stop(graceMs = STOP_GRACE_MS): Promise<void> {
    await this.socket.remove();
    this.socket.listener.close();
    const timer = setTimeout(() => this.server.forceShutdown(), graceMs);
    try {
      await new Promise<void>((resolve) => this.server.tryShutdown(() => resolve()));
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The service in the form of the library. */
function serviceOf(store: SnapshotStore) {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of unaryMethods(store)) {
    definition[method.name] = definitionOf(method.name, method.request, method.response, false);
    implementation[method.name] = unaryCall(method);
  }
  definition["List"] = definitionOf("List", "ListRequest", "ListResponse", true);
  implementation["List"] = listCall(store);
  return { definition, implementation };
}

function definitionOf(
  name: string,
  request: keyof Messages,
  response: keyof Messages,
  responseStream: boolean,
): ServiceDefinition[string] {
  const [asked, answered] = [codecOf(request), codecOf(response)];
  return {
    path: `/${SERVICE}/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: asked.encode,
    requestDeserialize: asked.decode,
    responseSerialize: answered.encode,
    responseDeserialize: answered.decode,
  };
}

function unaryCall({ name, handle }: UnaryMethod): handleUnaryCall<unknown, unknown> {
  return (call, callback) => {
    const abort = new AbortController();
    const cancelled = () => new NydusGdError("interrupted", `Cannot continue ${name}: its caller has given up`);
    call.on("cancelled", () => abort.abort(cancelled()));
    handle(call.request, abort.signal).then(
      (response) => callback(null, response),
      (error) => callback(statusOf(name, error)),
    );
  };
}

function listCall(store: SnapshotStore): handleServerStreamingCall<Messages["ListRequest"], Messages["ListResponse"]> {
  return (call) => {
    try {
      for (const response of listResponses(store, call.request)) call.write(response);
      call.end();
    } catch (error) {
      call.emit("error", statusOf("List", error));
    }
  };
}

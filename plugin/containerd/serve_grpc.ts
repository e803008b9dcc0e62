/**
 * The snapshotter for containerd: snapshots behind a gRPC service on a Unix socket (kept_socket.ts).
 *
 * ```toml
 * [proxy_plugins.nydus-gd]   # in containerd's configuration
 *   type = "snapshot"
 *   address = "/run/nydus-gd/snapshotter.sock"
 * ```
 * A call that its caller cancels, or whose deadline passes, aborts what it waits for.
 *
 * @module
 */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { atMost, throwIfAborted } from "../../lib/base/abort.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import { RunningTasks } from "../../lib/base/running_tasks.ts";
import type { SnapshotStore } from "../../lib/snapshot/snapshot_store.ts";
import type { Listener } from "./listener.ts";
import { codecOf, type Messages } from "./messages.ts";
import { listResponses, UNARY_METHODS, type UnaryMethod } from "./service.ts";
import { statusOf } from "./status.ts";

const SERVICE = "containerd.services.snapshots.v1.Snapshots";

/** How long running calls may take after a stop. */
const STOP_GRACE_MS = 10_000;

/** A running snapshotter endpoint. */
export class SnapshotterServer implements AsyncDisposable {
  readonly #server = new Server();
  readonly #opened = Promise.withResolvers<SnapshotStore>();
  readonly #calls = new RunningTasks();
  #stopping: Promise<void> | undefined;

  /** Serves the connections of `listener`, which it owns. Calls wait until {@link answer}. */
  constructor(private readonly listener: Listener) {
    this.#opened.promise.catch(() => {}); // it may fail while no call waits
    const { definition, implementation } = serviceOf(this.#opened.promise, this.#calls);
    this.#server.addService(definition, implementation);
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    listener.serve((connection) => injector.injectConnection(connection));
  }

  /** Answers calls, also those that have waited for it, with the snapshots of `store`. */
  answer(store: SnapshotStore): void {
    this.#opened.resolve(store);
  }

  /**
   * Serves on until no call is running, and ends then: clients that connect afterwards have to wait for the next daemon.
   * Calls that run {@link STOP_GRACE_MS} longer are aborted.
   */
  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stop(): Promise<void> {
    this.#opened.reject(new NydusGdError("interrupted", "Cannot continue: the snapshotter is stopping"));
    const deadline = performance.now() + STOP_GRACE_MS;
    await atMost(STOP_GRACE_MS, this.#calls.settled());
    await this.listener.close();
    await this.#shutDown(Math.max(0, deadline - performance.now()));
    await this.listener.parted();
  }

  /** Ends all connections as soon as no call of theirs is running, or `graceMs` have passed, which aborts the calls. */
  async #shutDown(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.#server.forceShutdown(), graceMs);
    try {
      await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The service in the form of the library. */
function serviceOf(store: Promise<SnapshotStore>, calls: RunningTasks) {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of UNARY_METHODS) {
    definition[method.name] = { ...definitionOf(method), responseStream: false };
    implementation[method.name] = unaryCall(method, store, calls);
  }
  const list = { name: "List", request: "ListRequest", response: "ListResponse" } as const;
  definition["List"] = { ...definitionOf(list), responseStream: true };
  implementation["List"] = listCall(store, calls);
  return { definition, implementation };
}

function definitionOf(
  { name, request, response }: Pick<UnaryMethod, "name" | "request" | "response">,
): Omit<ServiceDefinition[string], "responseStream"> {
  const [asked, answered] = [codecOf(request), codecOf(response)];
  return {
    path: `/${SERVICE}/${name}`,
    requestStream: false,
    requestSerialize: asked.encode,
    requestDeserialize: asked.decode,
    responseSerialize: answered.encode,
    responseDeserialize: answered.decode,
  };
}

function unaryCall(
  { name, handle }: UnaryMethod,
  store: Promise<SnapshotStore>,
  calls: RunningTasks,
): handleUnaryCall<unknown, unknown> {
  return (call, callback) => {
    const abort = new AbortController();
    const { signal } = abort;
    const cancelled = () => new NydusGdError("interrupted", `Cannot continue ${name}: its caller has given up`);
    call.on("cancelled", () => abort.abort(cancelled()));
    const respond = async () => {
      const opened = await store;
      throwIfAborted(signal);
      return await handle(opened, call.request, signal);
    };
    calls.add(respond()).then(
      (response) => callback(null, response),
      (error) => callback(statusOf(name, error)),
    );
  };
}

function listCall(
  store: Promise<SnapshotStore>,
  calls: RunningTasks,
): handleServerStreamingCall<Messages["ListRequest"], Messages["ListResponse"]> {
  return (call) => {
    const respond = async () => {
      for (const response of listResponses(await store, call.request)) call.write(response);
      call.end();
    };
    calls.add(respond()).catch((error) => call.emit("error", statusOf("List", error)));
  };
}

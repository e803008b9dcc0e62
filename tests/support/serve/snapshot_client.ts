/**
 * containerd's side of the snapshot service: a gRPC client on its socket.
 *
 * @module
 */
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { codecOf, type InfoMessage, type Messages, type MountMessage } from "../../../plugin/containerd/messages.ts";
import type { SnapshotMount } from "../../../lib/snapshot/snapshot_mounts.ts";
import { SNAPSHOTTER } from "../../../lib/setup/containerd/containerd_config.ts";
import { PATIENCE_MS } from "../until.ts";

const SERVICE = "/containerd.services.snapshots.v1.Snapshots";

type Labels = Readonly<Record<string, string>>;

/** Calls a snapshotter. Failed calls reject with the library's error, which has `code` and `details`. */
export class SnapshotClient implements Disposable {
  readonly #client: Client;

  /** @param snapshotter name under which it knows the snapshotter */
  constructor(socket: string, private readonly snapshotter = SNAPSHOTTER) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
  }

  /** @param timeoutMs deadline of the call */
  async prepare(key: string, parent = "", labels: Labels = {}, timeoutMs?: number): Promise<SnapshotMount[]> {
    const { mounts } = await this.#call(
      "Prepare",
      "CreateRequest",
      "MountsResponse",
      { snapshotter: this.snapshotter, key, parent, labels },
      timeoutMs,
    );
    return mounts.map(mountOf);
  }

  async view(key: string, parent = "", labels: Labels = {}): Promise<SnapshotMount[]> {
    const { mounts } = await this.#call("View", "CreateRequest", "MountsResponse", {
      snapshotter: this.snapshotter,
      key,
      parent,
      labels,
    });
    return mounts.map(mountOf);
  }

  async mounts(key: string): Promise<SnapshotMount[]> {
    const { mounts } = await this.#call("Mounts", "KeyRequest", "MountsResponse", {
      snapshotter: this.snapshotter,
      key,
    });
    return mounts.map(mountOf);
  }

  async commit(name: string, key: string, labels: Labels = {}): Promise<void> {
    await this.#call("Commit", "CommitRequest", "Empty", { snapshotter: this.snapshotter, name, key, labels });
  }

  async remove(key: string): Promise<void> {
    await this.#call("Remove", "KeyRequest", "Empty", { snapshotter: this.snapshotter, key });
  }

  async stat(key: string): Promise<InfoMessage | null> {
    return (await this.#call("Stat", "KeyRequest", "InfoResponse", { snapshotter: this.snapshotter, key })).info;
  }

  /** Names of all snapshots that match, sorted. */
  async list(...filters: string[]): Promise<string[]> {
    const [request, response] = [codecOf("ListRequest"), codecOf("ListResponse")];
    const call = this.#client.makeServerStreamRequest(
      `${SERVICE}/List`,
      request.encode,
      response.decode,
      { snapshotter: this.snapshotter, filters },
    );
    const names: string[] = [];
    for await (const { info } of call) names.push(...(info as InfoMessage[]).map(({ name }) => name));
    return names.sort();
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #call<Q extends keyof Messages, R extends keyof Messages>(
    method: string,
    request: Q,
    response: R,
    message: Messages[Q],
    timeoutMs = PATIENCE_MS,
  ): Promise<Messages[R]> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `${SERVICE}/${method}`,
        codecOf(request).encode,
        codecOf(response).decode,
        message,
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, value?: Messages[R]) => error ? reject(error) : resolve(value as Messages[R]),
      );
    });
  }
}

function mountOf({ type, source, options }: MountMessage): SnapshotMount {
  if (type !== "bind" && type !== "overlay") throw new Error(`there is no mount of type ${type}`);
  return { type, source, options };
}

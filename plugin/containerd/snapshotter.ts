/**
 * The snapshotter for containerd: snapshots behind a gRPC service.
 *
 * ```toml
 * [proxy_plugins.nydus-gd]   # in containerd's configuration
 *   type = "snapshot"
 *   address = "/run/nydus-gd/snapshotter.sock"
 * ```
 *
 * @module
 */
import { SnapshotStore, type SnapshotStoreParts } from "../../lib/snapshot/snapshot_store.ts";
import { SnapshotterServer } from "./serve_grpc.ts";

/** Where the files are. */
export interface SnapshotterPlaces {
  /** Folder of the snapshots. */
  readonly dir: string;
  readonly socket: string;
}

/** The snapshots of one daemon. */
export class Snapshotter implements AsyncDisposable {
  private constructor(readonly store: SnapshotStore, private readonly socket: string) {}

  /** Opens the snapshots. @throws as {@link SnapshotStore.open} */
  static async open({ dir, socket }: SnapshotterPlaces, parts: SnapshotStoreParts): Promise<Snapshotter> {
    return new Snapshotter(await SnapshotStore.open(dir, parts), socket);
  }

  /** Serves them until the server is stopped, which has to be before the disposal. */
  async serve(): Promise<SnapshotterServer> {
    return await SnapshotterServer.start(this.socket, this.store);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
  }
}

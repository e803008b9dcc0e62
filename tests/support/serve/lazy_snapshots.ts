/**
 * A real `serve` behind its snapshotter socket, and an image of the fixtures as containerd unpacks it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { SnapshotMount } from "../../../lib/snapshot/snapshot_mounts.ts";
import { unmountAll } from "../../../lib/layer/overlay/overlay_mount.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { GraphDriverProcess, type ServeProcessOptions } from "./graph_driver_process.ts";
import { type RafsFixture, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import { SnapshotClient } from "./snapshot_client.ts";
import { mountSnapshot } from "../layer/snapshot_home.ts";
import { TempDir } from "../temp_dir.ts";
import { unmountBelow } from "../mount/unmount_below.ts";

const sha256 = (text: string | Uint8Array) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** The process and its client. Disposing stops it and unmounts what is left. */
export class LazySnapshots implements AsyncDisposable {
  #client: SnapshotClient;

  private constructor(
    readonly temp: TempDir,
    readonly driver: GraphDriverProcess,
    /** Reference that unpacked layers have as a label. */
    private readonly reference: string,
  ) {
    this.#client = new SnapshotClient(this.socket);
  }

  /** @param backend of nydusd's configuration; none: there is no configuration */
  static async start(
    backend: unknown,
    { reference = "", ...options }: ServeProcessOptions & { readonly reference?: string } = {},
  ): Promise<LazySnapshots> {
    const temp = TempDir.make();
    const args = [...options.args ?? [], "--snapshotter-socket", temp.join("snapshotter.sock")];
    if (backend !== undefined) {
      await Deno.writeTextFile(temp.join("config.json"), JSON.stringify({ device: { backend }, mode: "direct" }));
      args.push("--config", temp.join("config.json"));
    }
    const driver = await GraphDriverProcess.start(temp.path, { ...options, args });
    return new LazySnapshots(temp, driver, reference);
  }

  get socket(): string {
    return this.temp.join("snapshotter.sock");
  }

  get client(): SnapshotClient {
    return this.#client;
  }

  /** Kills the process and starts it again. */
  async restart(): Promise<void> {
    await this.driver.kill();
    await this.driver.restart();
    this.#client[Symbol.dispose]();
    this.#client = new SnapshotClient(this.socket);
  }

  /**
   * Stops the process. Disconnects first: a client of this runtime may abort when its server says that it goes away
   * (assertion in nghttp2).
   */
  async stop(): Promise<void> {
    this.#client[Symbol.dispose]();
    await this.driver.stop();
  }

  /** Mounts a snapshot; returns where. */
  mount(mounts: readonly SnapshotMount[], name: string): string {
    const target = this.temp.join(name);
    mountSnapshot(mounts, target);
    return target;
  }

  /**
   * Unpacks a nydus image like containerd: one snapshot for each blob, whose data are not fetched, and the bootstrap on
   * top. Returns the name of the topmost snapshot.
   */
  async unpack(fixture: RafsFixture): Promise<string> {
    const bootstrap = await readFixtureBootstrap(fixture);
    let parent = "";
    for (const { id } of openBootstrap(bootstrap).blobs) {
      const chain = sha256(`${parent} ${id}`);
      const error = await this.#client.prepare(`extract-${id} ${chain}`, parent, {
        ...this.#labels(chain, `sha256:${id}`),
        "containerd.io/snapshot/nydus-blob": "true",
      }).then(() => "no error", ({ code }) => code);
      if (error !== 6) throw new Error(`Cannot claim blob ${id}: ${error} instead of ALREADY_EXISTS`);
      parent = chain;
    }
    return await this.unpackLayer(bootstrap, parent);
  }

  /** Unpacks a bootstrap layer on `parent`; returns the name of its snapshot. */
  async unpackLayer(bootstrap: Uint8Array, parent: string): Promise<string> {
    const digest = sha256(bootstrap);
    const chain = sha256(`${parent} ${digest}`);
    const labels = { ...this.#labels(chain, digest), "containerd.io/snapshot/nydus-bootstrap": "true" };
    const key = `extract-1 ${chain}`;
    const target = this.mount(await this.#client.prepare(key, parent, labels), "unpacking");
    try {
      await Deno.mkdir(`${target}/image`);
      await Deno.writeFile(`${target}/image/image.boot`, bootstrap);
    } finally {
      unmountAll(target);
    }
    await this.#client.commit(chain, key, labels);
    return chain;
  }

  #labels(target: string, digest: string): Record<string, string> {
    return {
      "containerd.io/snapshot.ref": target,
      "containerd.io/snapshot/cri.layer-digest": digest,
      ...(this.reference === "" ? {} : { "containerd.io/snapshot/cri.image-ref": this.reference }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    unmountBelow(this.temp.path);
    await this.stop();
    await this.driver[Symbol.asyncDispose]();
    unmountBelow(this.temp.path);
    this.temp[Symbol.dispose]();
  }
}

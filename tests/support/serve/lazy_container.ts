/**
 * A driver with one lazy image of known bytes, a container's layer on top of it, and readers of its files.
 *
 * @module
 */
import { rejects } from "node:assert/strict";
import { existsSync } from "node:fs";
import { ignoreMount } from "../../../ffi/fanotify.ts";
import { AT, FALLOC, fallocate, O, openat } from "../../../ffi/fcntl.ts";
import { OPEN_TREE, openTree } from "../../../ffi/mount_api.ts";
import { readProcessLink } from "../../../ffi/procfs.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { bootstrapLayerTar } from "../../../lib/image/build/image_builder.ts";
import { Keeper } from "../../../lib/mount/keeper/keeper.ts";
import { buildFrom } from "../rafs/built_rafs.ts";
import { GraphDriverProcess, type ServeProcessOptions } from "./graph_driver_process.ts";
import { file, tarOf } from "../archive/tar_builder.ts";
import { TempDir } from "../temp_dir.ts";
import { unmountBelow } from "../mount/unmount_below.ts";
import { knownBytes, VerifyingReaders } from "../mount/verifying_reader.ts";
import { mountPointsBelow } from "../mount/mount_points.ts";

const FILES = 16;
const CHUNK = 16 * 1024;
const NO_READ_AHEAD = { NYDUS_GD_PREFETCH_READ_AHEAD: "0" } as const;

/** How it is started. */
export interface LazyContainerOptions extends ServeProcessOptions {
  /** Bytes of a file; default 1 MiB. */
  readonly fileBytes?: number;
}

/** The driver and the container. Disposing stops the driver and fails if a mount is left. */
export class LazyContainer implements AsyncDisposable {
  /** The container's root. */
  root = "";
  /** Number of calls of {@link read}. */
  #readers = 0;

  private constructor(
    private readonly temp: TempDir,
    readonly driver: GraphDriverProcess,
    readonly blobId: string,
    private readonly fsDriver: string,
    private readonly fileBytes: number,
  ) {}

  /** @param fsDriver the data path, by name or "auto" */
  static async start(fsDriver = "auto", options: LazyContainerOptions = {}): Promise<LazyContainer> {
    const { fileBytes = 1 << 20, ...ofServe } = options;
    const temp = TempDir.make();
    // one more file than is read, and no read-ahead: the kernel does not ask about a complete blob, and would show what
    // {@link emptyCache} leaves of it
    const names = Array.from({ length: FILES + 1 }, (_, number) => number);
    const built = await buildFrom(
      tarOf(...names.map((n) => file(String(n), knownBytes(n, fileBytes)))),
      { chunkSize: CHUNK },
      1 << 20,
    );
    Deno.mkdirSync(temp.join("blobs"));
    Deno.writeFileSync(temp.join(`blobs/${built.blobId}`), built.blob);
    const backend = { type: "localfs", config: { dir: temp.join("blobs") } };
    Deno.writeTextFileSync(temp.join("config.json"), JSON.stringify({ device: { backend }, mode: "direct" }));
    const env = { ...NO_READ_AHEAD, ...ofServe.env };
    const driver = await GraphDriverProcess.start(temp.path, { ...ofServe, env });
    const container = new LazyContainer(temp, driver, built.blobId, fsDriver, fileBytes);
    const Opts = [`nydus-gd.config=${temp.join("config.json")}`, `nydus-gd.fs-driver=${fsDriver}`];
    await driver.call("GraphDriver.Init", { Home: temp.join("home"), Opts });
    await driver.call("GraphDriver.Create", { ID: "image" });
    await driver.apply("image", bootstrapLayerTar(built.bytes));
    await driver.call("GraphDriver.CreateReadWrite", { ID: "box", Parent: "image" });
    container.root = (await driver.call("GraphDriver.Get", { ID: "box" }))["Dir"] as string;
    return container;
  }

  /** Root of the driver. */
  get driverRoot(): string {
    return this.temp.join("root");
  }

  /** State directory, which a successor takes over. */
  get stateDir(): string {
    return this.temp.join("root/state");
  }

  /** Path of the image's bootstrap in its layer. */
  get bootstrapPath(): string {
    return this.temp.join("home/image/diff/image/image.boot");
  }

  /** Path of the record of the image's layer. */
  get layerRecordPath(): string {
    return this.temp.join("home/image/layer.json");
  }

  /** Socket for admin requests. */
  get adminSocket(): string {
    return this.temp.join("root.admin.sock");
  }

  /** Pid of the recorded keeper. */
  get keeperPid(): number {
    return JSON.parse(Deno.readTextFileSync(this.#keeperPath)).pid;
  }

  /** Name of the keeper's record. */
  get keeperName(): string {
    const names = ["fanotify-keeper.json", "fscache-keeper.json", "keeper.json"];
    return names.find((name) => existsSync(`${this.stateDir}/${name}`)) ?? "keeper.json";
  }

  get #keeperPath(): string {
    return `${this.stateDir}/${this.keeperName}`;
  }

  /** Content of file `number`. */
  content(number: number): Uint8Array<ArrayBuffer> {
    return knownBytes(number, this.fileBytes);
  }

  /** Path of the descriptor that the keeper holds under `name`. */
  keptFile(name: string): string {
    const pid = this.keeperPid;
    const dir = `/proc/${pid}/fd`;
    // one that starts is still closing what it was not given
    const found = [...Deno.readDirSync(dir)].find((entry) =>
      readProcessLink(pid, `fd/${entry.name}`)?.startsWith(name)
    );
    if (found === undefined) throw new Error(`the keeper does not hold ${name}`);
    return `${dir}/${found.name}`;
  }

  /** Starts readers of the container's files. */
  read(count: number): Promise<VerifyingReaders> {
    const files = { count: FILES, sizeBytes: this.fileBytes };
    return VerifyingReaders.start(count, this.root, files, this.temp.join(`stop-${++this.#readers}`));
  }

  /** Discards all cached chunks, so that they are fetched again. No driver may be running. */
  async emptyCache(readers: VerifyingReaders): Promise<void> {
    const cache = this.temp.join("root/cache");
    for (const { name } of Deno.readDirSync(cache)) {
      if (!name.startsWith(this.blobId)) continue;
      if (this.fsDriver !== "erofs-fanotify" || !name.endsWith(".data")) Deno.removeSync(`${cache}/${name}`);
      else await readers.whileHeld(() => this.#punch(cache, name));
    }
  }

  /** Empties a file that the kernel has open and watches, through a mount that it does not watch. */
  async #punch(cache: string, name: string): Promise<void> {
    const group = (await Keeper.take(this.#keeperPath))?.get("fanotify");
    if (group === undefined) throw new Error("no process has the fanotify group");
    using _group = group;
    using mount = openTree(AT.FDCWD, cache, OPEN_TREE.CLONE);
    ignoreMount(group, mount);
    using file = openat(mount, name, O.RDWR);
    fallocate(file, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 0, fstat(file).size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.driver.call("GraphDriver.Put", { ID: "box" });
      await this.driver.stop();
      const left = mountPointsBelow(this.temp.path);
      if (left.length > 0) throw new Error(`mounts are left: ${left.join(", ")}`);
      await rejects(Deno.stat(this.#keeperPath), Deno.errors.NotFound);
    } finally {
      await this.driver[Symbol.asyncDispose]();
      unmountBelow(this.temp.path);
      this.temp[Symbol.dispose]();
    }
  }
}

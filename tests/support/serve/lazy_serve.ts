/**
 * A real `serve` with one lazy image mounted, whose files can be read one by one and compared with their listing.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { bootstrapLayerTar } from "../../../lib/image/build/image_builder.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { FakeRegistry } from "../backend/fake_registry.ts";
import { GraphDriverProcess, type ServeProcessOptions } from "./graph_driver_process.ts";
import { fixtureOf, RAFS_FIXTURES, readFixtureBootstrap, readListing } from "../rafs/rafs_fixtures.ts";
import { unmountBelow } from "../mount/unmount_below.ts";

/** The image: many small files, each in compressed chunks of its own. */
export const LAZY_IMAGE = fixtureOf("v6-prefetch-fs");

/** Starts a registry with the blobs of the image. */
export async function startLazyRegistry(): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start();
  const { blobs } = openBootstrap(await readFixtureBootstrap(LAZY_IMAGE));
  for (const { id } of blobs) registry.addBlob(await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`));
  return registry;
}

/** The `backend` of {@link LazyServeOptions} for such a registry. */
export function backendOf({ host }: FakeRegistry): unknown {
  return { type: "registry", config: { host, repo: "app", scheme: "http" } };
}

/** Outcome of a read: the right bytes, others, or none. */
export type ReadOutcome = "right" | "wrong" | "error";

export interface LazyServeOptions extends ServeProcessOptions {
  readonly backend?: unknown;
  readonly beforeImage?: () => void;
}

/** The process and its mounted image; disposing stops it. */
export class LazyServe implements AsyncDisposable {
  /** Paths of the image's regular files, in order. */
  readonly files: readonly string[];
  readonly #digests: ReadonlyMap<string, string>;

  private constructor(
    private readonly scratch: string,
    readonly driver: GraphDriverProcess,
    /** The container's root. */
    readonly root: string,
  ) {
    const listed = readListing(LAZY_IMAGE.listing).filter(({ type, size = 0 }) => type === "reg" && size > 0);
    this.#digests = new Map(listed.map(({ path, sha256 = "" }) => [decodeURIComponent(path), sha256]));
    this.files = [...this.#digests.keys()];
  }

  /**
   * Starts it and mounts the image.
   *
   * @param scratch a directory for all its files
   * @param options.backend in the form of nydusd's configuration; default: the directory of the fixtures' blobs
   * @param options.beforeImage runs when the process is ready and has no image yet
   */
  static async start(scratch: string, options: LazyServeOptions = {}): Promise<LazyServe> {
    const { backend = { type: "localfs", config: { dir: `${RAFS_FIXTURES}/blobs` } }, beforeImage } = options;
    const config = `${scratch}/config.json`;
    await Deno.writeTextFile(config, JSON.stringify({ device: { backend }, mode: "direct" }));
    const driver = await GraphDriverProcess.start(scratch, options);
    try {
      await driver.call("GraphDriver.Init", { Home: `${scratch}/home`, Opts: [`nydus-gd.config=${config}`] });
      beforeImage?.();
      await driver.call("GraphDriver.Create", { ID: "image" });
      await driver.apply("image", bootstrapLayerTar(await readFixtureBootstrap(LAZY_IMAGE)));
      await driver.call("GraphDriver.CreateReadWrite", { ID: "box", Parent: "image" });
      const { Dir } = await driver.call("GraphDriver.Get", { ID: "box" });
      return new LazyServe(scratch, driver, String(Dir));
    } catch (error) {
      await driver[Symbol.asyncDispose]();
      unmountBelow(scratch);
      throw error;
    }
  }

  /** Reads one file as a container would. */
  async read(path: string): Promise<ReadOutcome> {
    let bytes: Uint8Array;
    try {
      bytes = await Deno.readFile(this.root + path);
    } catch (error) {
      if (error instanceof Error && /os error 5\b/.test(error.message)) return "error";
      throw error;
    }
    return createHash("sha256").update(bytes).digest("hex") === this.#digests.get(path) ? "right" : "wrong";
  }

  /** Reads files `from` to `to` in order; returns the number of reads by outcome. */
  async readAll(from = 0, to = this.files.length): Promise<Record<ReadOutcome, number>> {
    const count = { right: 0, wrong: 0, error: 0 };
    for (const path of this.files.slice(from, to)) count[await this.read(path)]++;
    return count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    unmountBelow(this.scratch);
  }
}

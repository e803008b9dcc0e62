/**
 * A real `serve` whose cache is too small for all of its images: unused blobs are evicted, blobs in use stay, and every
 * byte read is right throughout.
 *
 * @module
 */
import assert from "node:assert/strict";
import { bootstrapLayerTar } from "../../lib/image/build/image_builder.ts";
import type { FsDriver } from "../../lib/mount/data_path.ts";
import { buildFrom, type BuiltRafs } from "../support/rafs/built_rafs.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { until } from "../support/until.ts";

/** Size in bytes of each image's only file. */
const FILE_BYTES = 400_000;
/** Space for one and a half images. */
const MAX_SIZE = "600000";

/** Incompressible bytes, the same for the same image. */
function contentOf(seed: number): Uint8Array<ArrayBuffer> {
  let state = seed * 2654435761 >>> 0 || 1;
  return Uint8Array.from({ length: FILE_BYTES }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

/** A `serve`, with the calls of Docker. */
class Images implements AsyncDisposable {
  private constructor(private readonly scratch: string, private readonly driver: GraphDriverProcess) {}

  static async start(scratch: string, fsDriver: FsDriver): Promise<Images> {
    await Deno.mkdir(`${scratch}/blobs`);
    const backend = { type: "localfs", config: { dir: `${scratch}/blobs` } };
    await Deno.writeTextFile(`${scratch}/config.json`, JSON.stringify({ device: { backend }, mode: "direct" }));
    const driver = await GraphDriverProcess.start(scratch, { env: { NYDUS_GD_CACHE_MAX_SIZE: MAX_SIZE } });
    const opts = [`nydus-gd.config=${scratch}/config.json`, `nydus-gd.fs-driver=${fsDriver}`];
    await driver.call("GraphDriver.Init", { Home: `${scratch}/home`, Opts: opts });
    return new Images(scratch, driver);
  }

  /** Makes an image and a container of it. */
  async create(name: string, image: BuiltRafs): Promise<void> {
    await Deno.writeFile(`${this.scratch}/blobs/${image.blobId}`, image.blob);
    await this.driver.call("GraphDriver.Create", { ID: name });
    await this.driver.apply(name, bootstrapLayerTar(image.bytes));
    await this.driver.call("GraphDriver.CreateReadWrite", { ID: `${name}-box`, Parent: name });
  }

  /** Starts the container; returns what it reads. */
  async start(name: string): Promise<Uint8Array> {
    const { Dir } = await this.driver.call("GraphDriver.Get", { ID: `${name}-box` });
    return await Deno.readFile(`${Dir}/data`);
  }

  async stop(name: string): Promise<void> {
    await this.driver.call("GraphDriver.Put", { ID: `${name}-box` });
  }

  /** Whether the cache has data of the image. */
  has({ blobId }: BuiltRafs): boolean {
    try {
      return Deno.statSync(`${this.scratch}/root/cache/${blobId}.blob.data`).isFile;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /** Waits until the cache has no data of the image. */
  gone(image: BuiltRafs): Promise<void> {
    return until("the image's data is removed from the cache", () => !this.has(image));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
  }
}

for (const fsDriver of TESTED_DATA_PATHS) {
  fuseTest(`images without containers are evicted for those in use (${fsDriver})`, async () => {
    using temp = TempDir.make();
    try {
      await using images = await Images.start(temp.path, fsDriver);
      const contents = [1, 2, 3].map(contentOf);
      const built = await Promise.all(
        contents.map((content) => buildFrom(tarOf(file("data", content)), { chunkSize: 65_536 })),
      );
      const [a, b, c] = built as [BuiltRafs, BuiltRafs, BuiltRafs];
      for (const [index, name] of ["a", "b", "c"].entries()) await images.create(name, built[index] as BuiltRafs);
      assert.deepEqual(await images.start("a"), contents[0]);
      await images.stop("a");
      assert.deepEqual(await images.start("b"), contents[1]);
      await images.gone(a);
      assert.ok(images.has(b));

      assert.deepEqual(await images.start("c"), contents[2]);
      assert.ok(images.has(b) && images.has(c), "both are used");
      await images.stop("b");
      assert.deepEqual(await images.start("a"), contents[0]);
      await images.gone(b);
      assert.deepEqual(await images.start("b"), contents[1]);
      for (const name of ["a", "b", "c"]) await images.stop(name);
    } finally {
      unmountBelow(temp.path);
    }
  });
}

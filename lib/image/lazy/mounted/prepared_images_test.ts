import { equal } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import { KernelImages } from "../../../mount/erofs/kernel_images.ts";
import { PreparedImages } from "./prepared_images.ts";

/** Preparations by a data path without kernel images, of layers whose bootstraps are `contents` by their ids. */
class Fixture implements AsyncDisposable {
  readonly mounted: string[] = [];
  readonly #dir = Deno.makeTempDirSync();
  readonly prepared = new PreparedImages({
    kernelImages: new KernelImages(this.#dir),
    usesKernelImages: () => false,
    whenPlaced: () => Promise.resolve(),
    mount: (layer) => Promise.resolve(this.mounted.push(layer.id)),
    unmountUnused: () => Promise.resolve(),
    unusedMs: 60_000,
  });

  layer(id: string, bootstrap: string): LazyLayer {
    const bootstrapPath = `${this.#dir}/${id}`;
    Deno.writeTextFileSync(bootstrapPath, bootstrap);
    return { id, bootstrapPath, home: this.#dir };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.prepared.stop();
    await Deno.remove(this.#dir, { recursive: true });
  }

  /** Resolves when that many layers are mounted, or after a while. */
  async until(count: number): Promise<readonly string[]> {
    for (let i = 0; i < 100 && this.mounted.length < count; i++) await delay(10);
    return this.mounted.toSorted();
  }
}

Deno.test("an image that arrives as two layers is mounted once for its first container", async () => {
  await using fixture = new Fixture();
  for (const id of ["entry", "twin"]) fixture.prepared.begin(fixture.layer(id, "bootstrap"));
  fixture.prepared.begin(fixture.layer("other", "something"));
  equal((await fixture.until(2)).join(), "entry,other");
});

Deno.test("the same image is mounted again once its first layer is gone", async () => {
  await using fixture = new Fixture();
  fixture.prepared.begin(fixture.layer("first", "bootstrap"));
  await fixture.until(1);
  await fixture.prepared.cancel("first");
  fixture.prepared.begin(fixture.layer("second", "bootstrap"));
  equal((await fixture.until(2)).join(), "first,second");
});

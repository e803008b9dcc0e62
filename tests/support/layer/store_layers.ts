/**
 * Layers as dockerd makes them, in a {@link StoreHome}.
 *
 * @module
 */
import type { LayerStore } from "../../../lib/layer/layer_store.ts";
import { FOLDER_BOOTSTRAP } from "./folder_images.ts";
import type { StoreHome } from "./store_home.ts";
import { dir, file, tarOf, type TestEntry } from "../archive/tar_builder.ts";

/** Makes an image's layer with these entries. */
export async function layer(store: LayerStore, id: string, parent: string, ...entries: TestEntry[]): Promise<void> {
  await store.create(id, { parent });
  await store.applyDiff(id, new Blob([tarOf(...entries)]).stream());
}

/** Makes the two layers of a container. */
export async function container(store: LayerStore, id: string, image: string): Promise<void> {
  await store.createReadWrite(`${id}-init`, { parent: image });
  await store.createReadWrite(id, { parent: `${id}-init` });
}

/** Names in a folder, sorted. */
export function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

/** Ids of the layers in a home, sorted. */
export function layersIn(home: string): string[] {
  return namesIn(home).filter((name) => !name.startsWith(".") && name !== "l");
}

/** An image in a folder, and the bootstrap layer that stands for it. */
export async function lazyLayer(home: StoreHome, id: string, parent = ""): Promise<string> {
  const image = `${home.scratch}/image of ${id}`;
  await Deno.mkdir(`${image}/usr`, { recursive: true });
  await Deno.writeTextFile(`${image}/usr/lazy`, "fetched on first touch");
  await Deno.chmod(image, 0o711);
  await layer(home.store, id, parent, dir("image"), file("image/image.boot", FOLDER_BOOTSTRAP + image));
  return image;
}

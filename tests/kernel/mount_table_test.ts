/**
 * The mount table has a line for each container, so that a call for one container which reads it makes many containers
 * cost the square of their number.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { storeTest } from "../support/layer/store_home.ts";
import { container, layer, lazyLayer } from "../support/layer/store_layers.ts";

/** How often this thread reads the mount table during `task`. */
async function tableReads(task: () => Promise<unknown>): Promise<number> {
  const read = Deno.readTextFileSync;
  let count = 0;
  Deno.readTextFileSync = (path) => {
    if (path === "/proc/self/mountinfo") count++;
    return read(path);
  };
  try {
    await task();
  } finally {
    Deno.readTextFileSync = read;
  }
  return count;
}

storeTest(
  "a container is made, mounted and unmounted without the mount table, which only a removal reads",
  async (home) => {
    const { store } = home;
    await layer(store, "ordinary", "");
    await lazyLayer(home, "lazy", "");
    for (const image of ["ordinary", "lazy"]) {
      const box = `box-on-${image}`;
      const made = await tableReads(() => container(store, box, image));
      const used = await tableReads(() => store.get(box));
      const usedAgain = await tableReads(() => store.get(box));
      const released = await tableReads(async () => {
        await store.put(box);
        await store.put(box);
        await store.put(box);
      });
      deepEqual({ image, made, used, usedAgain, released }, { image, made: 0, used: 0, usedAgain: 0, released: 0 });
      // before the folder is taken away, and before it is deleted
      deepEqual([image, await tableReads(() => store.remove(box))], [image, 2]);
    }
  },
);

/**
 * A process that watches folders by an UnmountWatch, as if they were mounts, and prints the name of each that is gone.
 *
 * @module
 */
import { UnmountWatch } from "../../../lib/mount/unmount/unmount_watch.ts";
import { programUrl } from "../repository.ts";

/** This module. */
export const WATCHING_PROGRAM = programUrl(import.meta, "watching_process.ts");

if (import.meta.main) {
  const [folder, ...names] = Deno.args;
  await using watch = new UnmountWatch();
  const gone = names.map(async (name) => {
    await watch.gone(`${folder}/${name}`);
    console.log(name);
  });
  console.log("watching");
  await Promise.all(gone);
}

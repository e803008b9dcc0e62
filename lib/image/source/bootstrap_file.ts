/**
 * A bootstrap that was unpacked becomes a file.
 *
 * @module
 */
import { type ImageMemory, partsOf } from "../../rafs/image_memory.ts";

/**
 * Writes the bootstrap to the file `path`. No link of that name is followed, and one that is mapped from an old file there
 * stays what it is.
 *
 * @param memory of the bootstrap
 */
export async function writeBootstrap(path: string, bootstrap: Uint8Array, memory: ImageMemory): Promise<void> {
  const aside = `${path}.tmp`;
  await Deno.writeFile(aside, ReadableStream.from(partsOf(bootstrap, memory)), { mode: 0o600 });
  await Deno.rename(aside, path);
}

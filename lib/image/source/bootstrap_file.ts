/**
 * A bootstrap that was unpacked becomes a file.
 *
 * @module
 */
import { ignore } from "../../base/errors.ts";
import { type ImageMemory, partsOf } from "../../rafs/image_memory.ts";
import { SpoolFile } from "./spool_file.ts";

/**
 * Writes the bootstrap to the file `path`. No link of that name is followed, and one that is mapped from an old file there
 * stays what it is.
 *
 * @param memory of the bootstrap
 * @throws {NydusGdError} "io"
 */
export async function writeBootstrap(path: string, bootstrap: Uint8Array, memory: ImageMemory): Promise<void> {
  const aside = `${path}.tmp`;
  await ignore(Deno.errors.NotFound, Deno.remove(aside));
  {
    using file = SpoolFile.create(aside, `write bootstrap ${path}`);
    for (const part of partsOf(bootstrap, memory)) file.write(part);
  }
  await Deno.rename(aside, path);
}

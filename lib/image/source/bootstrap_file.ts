/**
 * Writes an unpacked bootstrap to a file.
 *
 * @module
 */
import { ignore } from "../../base/errors.ts";
import { type ImageMemory, partsOf } from "../../rafs/memory/image_memory.ts";
import { SpoolFile } from "./spool_file.ts";

/**
 * Writes the bootstrap to `path` atomically. Does not follow a link at `path`, and leaves mappings of an old file
 * intact.
 *
 * @param memory that holds the bootstrap
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

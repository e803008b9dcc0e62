/**
 * Opens the nydus image whose chunks a conversion refers to instead of storing them again.
 *
 * @module
 */
import { hasCode, NydusGdError } from "../../../base/errors.ts";
import { parseReference } from "../../../oci/reference.ts";
import { type Bootstrap, RafsError } from "../../../rafs/bootstrap.ts";
import { openBootstrap } from "../../../rafs/open.ts";
import { type LocateAccess, locateImage } from "../../source/locate_image.ts";
import { OciLayout } from "../../source/oci_layout.ts";
import { ChunkDictionary } from "../chunks/chunk_dictionary.ts";
import type { BlobHome, RepositoryPlace } from "./image_content.ts";
import type { RafsOptions } from "../format/rafs_options.ts";

/** Chunks, and where their blobs are. */
export interface OpenDictionary {
  readonly chunks: ChunkDictionary;
  readonly home: BlobHome;
}

/**
 * Opens a dictionary.
 *
 * @param what `oci:DIR[:TAG]` or an image reference
 * @throws {NydusGdError} "usage" for a file, whose blobs cannot be located, or for different options; errors of the
 * registry
 */
export async function openDictionary(
  what: string,
  rafs: RafsOptions,
  access: LocateAccess,
  signal: AbortSignal,
): Promise<OpenDictionary> {
  const { source, sourceName, backend } = await locateImage({ what }, access, signal);
  if (backend === undefined) {
    throw new NydusGdError("usage", `Cannot use chunk dictionary ${what}: the location of its blobs is not given`, {
      hint: "name an image: oci:DIR[:TAG], or HOST/REPOSITORY:TAG",
    });
  }
  const chunks = new ChunkDictionary([await openNamed(source, sourceName)], rafs);
  return { chunks, home: { blobs: backend, place: placeOf(what) } };
}

/** @throws {NydusGdError} "invalid-image", "unsupported", with the name of the bootstrap */
async function openNamed(path: string, name: string): Promise<Bootstrap> {
  try {
    return openBootstrap(await Deno.readFile(path));
  } catch (error) {
    if (!(error instanceof RafsError)) throw error;
    throw new NydusGdError(error.code, `${error.message}, in ${name}`, { cause: error });
  }
}

function placeOf(what: string): RepositoryPlace | undefined {
  if (OciLayout.isNamed(what)) return undefined;
  try {
    const { host, repository } = parseReference(what);
    return { registry: host, repository };
  } catch (error) {
    if (hasCode(error, "usage")) return undefined;
    throw error;
  }
}

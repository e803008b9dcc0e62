/**
 * The bootstrap behind what a user names: a bootstrap file, a data blob that carries its bootstrap, or a layer tar
 * (plain or gzip) that holds one.
 *
 * A bootstrap file is used where it is. Anything else is unpacked to a file of the folder that the caller gives. A data
 * blob is told by its end, and before a layer is told by its start: the blob's first chunk may be any file, an archive too.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { O, open } from "../../../ffi/fcntl.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { zstdDecompress, ZstdError } from "../../../ffi/libzstd.ts";
import { BLOCK_SIZE } from "../../archive/tar.ts";
import { NydusGdError } from "../../base/errors.ts";
import { PagedMemory } from "../../base/paged_memory.ts";
import { EROFS_SUPER_OFFSET, sniffVersion } from "../../rafs/detect.ts";
import type { ImageMemory } from "../../rafs/image_memory.ts";
import { type Codecs, extractBootstrap } from "../../rafs/toc.ts";
import { writeBootstrap } from "./bootstrap_file.ts";
import { layerCompression, readBootstrapLayer } from "./bootstrap_layer_reader.ts";

/** A bootstrap that can be mapped. */
export interface FoundBootstrap {
  readonly path: string;
  /** Id of the blob that carries it, when the file is named after one: `<id>`, or nydusd's `<id>.image.boot`. */
  readonly container: string | undefined;
}

/** A file named after a blob. */
const BLOB_FILE = /^([0-9a-f]{64})(?:\.|$)/;

/** Bytes that tell what a file is: an EROFS super block ends the longest look. */
const HEAD_BYTES = EROFS_SUPER_OFFSET + 4;

/**
 * Finds the bootstrap in the file `path`.
 *
 * @param unpackTo file that is written when the bootstrap has to be unpacked
 * @throws {NydusGdError} "not-found"; "invalid-image" when the file is none of the known forms, or damaged; "unsupported"
 */
export async function findBootstrap(path: string, unpackTo: string): Promise<FoundBootstrap> {
  const { size, isFile } = await statFile(path);
  if (!isFile) throw new NydusGdError("usage", `Cannot read bootstrap ${path}: it is not a file`);
  const container = BLOB_FILE.exec(basename(path))?.[1];
  using file = open(path, O.RDONLY);
  const read = (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    preadExact(file, bytes, offset);
    return bytes;
  };
  const head = read(0, Math.min(size, HEAD_BYTES));
  if (sniffVersion(head) !== undefined) return { path, container };
  using memory = new PagedMemory(dirname(unpackTo));
  const inlined = await extractBootstrap(
    (offset, length) => Promise.resolve(read(offset, length)),
    size,
    bootstrapCodecs(memory),
  );
  if (inlined !== undefined) {
    await writeBootstrap(unpackTo, inlined, memory);
    return { path: unpackTo, container };
  }
  const layered = await inLayer(path, head, memory);
  if (layered !== undefined) {
    await writeBootstrap(unpackTo, layered, memory);
    // the file's name is the layer's digest at best: the bootstrap is in no data blob
    return { path: unpackTo, container: undefined };
  }
  throw new NydusGdError(
    "invalid-image",
    `Cannot find a bootstrap in ${path}: it is neither a RAFS bootstrap, ` +
      "nor a data blob that carries one, nor a layer that holds one",
    { hint: "name the bootstrap of a nydus image, or convert the image with nydusify" },
  );
}

async function inLayer(path: string, head: Uint8Array, memory: ImageMemory): Promise<Uint8Array | undefined> {
  const compression = layerCompression(head);
  if (compression === "none" && !isTarStart(head)) return undefined;
  using file = await Deno.open(path);
  return (await readBootstrapLayer(file.readable, compression, `layer ${path}`, memory))?.bootstrap;
}

/** How bootstraps are stored in data blobs; `memory` is where they are once they are plain. */
export function bootstrapCodecs(memory: ImageMemory): Codecs {
  return {
    decompress(compressor, data, uncompressedSize) {
      if (compressor !== "zstd") {
        throw new NydusGdError("unsupported", `Cannot read inlined bootstrap: it is compressed with ${compressor}`);
      }
      const plain = memory.allocate(uncompressedSize);
      try {
        return plain.subarray(0, zstdDecompress(data, plain));
      } catch (error) {
        if (!(error instanceof ZstdError)) throw error;
        throw new NydusGdError("invalid-image", `Cannot read inlined bootstrap: ${error.message}`, { cause: error });
      }
    },
    sha256: (data) => createHash("sha256").update(data).digest(),
  };
}

async function statFile(path: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof Deno.errors.NotADirectory)) throw error;
    throw new NydusGdError("not-found", `Cannot read bootstrap ${path}: there is no such file`, {
      hint: "check the path, or name an image: HOST/REPOSITORY:TAG",
      cause: error,
    });
  }
}

/** ustar, PAX and GNU alike. */
function isTarStart(head: Uint8Array): boolean {
  return head.length >= BLOCK_SIZE && new TextDecoder("latin1").decode(head.subarray(257, 262)) === "ustar";
}

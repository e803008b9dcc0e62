/**
 * Finds the bootstrap in a user's file: a bootstrap, a data blob that contains one, or a layer tar (plain or gzip).
 *
 * A bootstrap file is used in place; others are unpacked to a file given by the caller. Data blobs are recognized by
 * their end, before bootstraps and layers by their start, since the first chunk of a blob may be any file, even an
 * archive or a bootstrap, and a blob without data begins with its bootstrap.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { O, open } from "../../../ffi/fcntl.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { zstdDecompressOffThread, ZstdError } from "../../../ffi/libzstd.ts";
import { BLOCK_SIZE } from "../../archive/tar.ts";
import { NydusGdError } from "../../base/errors.ts";
import { PagedMemory } from "../../base/paged_memory.ts";
import { EROFS_SUPER_OFFSET, sniffVersion } from "../../rafs/format/detect.ts";
import type { ImageMemory } from "../../rafs/memory/image_memory.ts";
import { type Codecs, extractBootstrap } from "../../rafs/blob/toc.ts";
import { BLOB_FEATURE, has } from "../../rafs/format/flags.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";
import { writeBootstrap } from "./bootstrap_file.ts";
import { layerCompression, readBootstrapLayer } from "./bootstrap_layer_reader.ts";

/** A bootstrap file that can be mapped. */
export interface FoundBootstrap {
  readonly path: string;
  /**
   * ID of the blob that contains the bootstrap, if the file is named after one: `<id>`, or nydusd's `<id>.image.boot`.
   * Undefined for a bootstrap that is not in a blob.
   */
  readonly container: string | undefined;
}

/** The name of a file named after a blob. */
const BLOB_FILE = /^([0-9a-f]{64})(?:\.|$)/;

/** Bytes needed to recognize any format; the EROFS superblock is the last one. */
const HEAD_BYTES = EROFS_SUPER_OFFSET + 4;

/**
 * Finds the bootstrap in the file `path`.
 *
 * @param unpackTo file to write if the bootstrap has to be unpacked
 * @param name of the file, or what the user named it by, for messages
 * @throws {NydusGdError} "not-found"; "invalid-image" if the file has no known format or is damaged; "unsupported"
 */
export async function findBootstrap(path: string, unpackTo: string, name: string): Promise<FoundBootstrap> {
  const { size, isFile, isDirectory } = await statFile(path);
  if (!isFile) {
    const details = isDirectory ? { hint: `name a file in it, or oci:${path} for an OCI layout` } : {};
    throw new NydusGdError("usage", `Cannot read bootstrap ${path}: it is not a file`, details);
  }
  const container = BLOB_FILE.exec(basename(path))?.[1];
  using file = open(path, O.RDONLY);
  const read = (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    preadExact(file, bytes, offset);
    return bytes;
  };
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
  const head = read(0, Math.min(size, HEAD_BYTES));
  if (sniffVersion(head) !== undefined) return { path, container: container && containerOf(path, container) };
  const layered = await inLayer(path, head, memory, name);
  if (layered !== undefined) {
    await writeBootstrap(unpackTo, layered, memory);
    // a layer is at best named by its own digest, which is not that of a data blob
    return { path: unpackTo, container: undefined };
  }
  throw new NydusGdError(
    "invalid-image",
    `Cannot find a bootstrap in ${name}: it is neither a RAFS bootstrap, ` +
      "nor a data blob that carries one, nor a layer that holds one",
    { hint: "name the bootstrap of a nydus image, or make one of an ordinary image: nydus-gd convert SOURCE TARGET" },
  );
}

/**
 * Returns the blob that a bootstrap by itself was cut out of: a file may also have the bootstrap's own digest as its
 * name. Builders before 2.2 did not mark bootstraps that are made to be inlined, so of theirs only the name
 * `<id>.image.boot` tells.
 */
function containerOf(path: string, id: string): string | undefined {
  if (basename(path) === `${id}.image.boot`) return id;
  using bootstrap = MappedBootstrap.open(path, { treeOnly: true });
  return bootstrap.tree.blobs.some(({ features }) => has(features, BLOB_FEATURE.inlinedFsMeta)) ? id : undefined;
}

async function inLayer(
  path: string,
  head: Uint8Array,
  memory: ImageMemory,
  name: string,
): Promise<Uint8Array | undefined> {
  const compression = layerCompression(head);
  if (compression === "none" && !isTarStart(head)) return undefined;
  using file = await Deno.open(path);
  return (await readBootstrapLayer(file.readable, compression, name, memory))?.bootstrap;
}

/**
 * Returns the codecs of bootstraps inlined in data blobs. Decompressed bootstraps are placed in `memory`, by another
 * thread: a conversion looks up layers while it converts others.
 */
export function bootstrapCodecs(memory: ImageMemory): Codecs {
  return {
    async decompress(compressor, data, uncompressedSize) {
      if (compressor !== "zstd") {
        throw new NydusGdError("unsupported", `Cannot read inlined bootstrap: it is compressed with ${compressor}`);
      }
      const plain = memory.allocate(uncompressedSize);
      try {
        return plain.subarray(0, await zstdDecompressOffThread(data, plain));
      } catch (error) {
        if (!(error instanceof ZstdError)) throw error;
        throw new NydusGdError("invalid-image", `Cannot read inlined bootstrap: ${error.message}`, { cause: error });
      }
    },
    sha256: (data) => createHash("sha256").update(data).digest(),
  };
}

/** Returns what stat(2) says of a bootstrap's file. @throws {NydusGdError} "not-found" */
export async function statFile(path: string): Promise<Deno.FileInfo> {
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

/** Recognizes ustar, PAX and GNU tars. */
function isTarStart(head: Uint8Array): boolean {
  return head.length >= BLOCK_SIZE && new TextDecoder("latin1").decode(head.subarray(257, 262)) === "ustar";
}

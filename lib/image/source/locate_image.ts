/**
 * Locates the image that a user names: a file with its bootstrap, and the backend of its blobs.
 *
 * | named | bootstrap | blobs |
 * |---|---|---|
 * | a file | in it (find_bootstrap.ts) | in the given folder, or in the backend of the given configuration |
 * | `oci:DIR[:TAG]`, `tar:FILE[:TAG]` | a layer of the layout, or of the one in the archive | in the layout |
 * | an image reference | a layer in the registry | in the same repository |
 *
 * @module
 */
import type { Backend } from "../../backend/blob_source.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import type { NydusdConfig } from "../../backend/nydusd_config.ts";
import { openBackend, openRegistry } from "../../backend/open_backend.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { PagedMemory } from "../../base/paged_memory.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { bootstrapLayer, type Manifest } from "../../oci/manifest.ts";
import { parseReference } from "../../oci/reference.ts";
import type { ImageMemory } from "../../rafs/memory/image_memory.ts";
import { writeBootstrap } from "./bootstrap_file.ts";
import { readBootstrapLayerIn } from "./bootstrap_layer_reader.ts";
import { statFile } from "./find_bootstrap.ts";
import { readNydusdConfig } from "../../backend/config_files.ts";
import { isDaemonNamed } from "./daemon_archive.ts";
import { namedFolder } from "./folder_name.ts";
import { isArchiveNamed, openImageArchive } from "./image_archive.ts";
import { OciLayout } from "./oci_layout.ts";
import { fetchBootstrap, type FetchedBootstrap, MAX_LAYER_BYTES } from "./remote_bootstrap.ts";
import type { SourceAccess } from "./source_access.ts";

/** An image as named by a user. */
export interface NamedImage {
  /** File, `oci:DIR[:TAG]`, `tar:FILE[:TAG]` or image reference. */
  readonly what: string;
  /** Folder of a file's blobs, named by blob ID. */
  readonly blobDir?: string | undefined;
  /** Path of nydusd's configuration, which names the backend of a file's blobs. */
  readonly config?: string | undefined;
}

/** How to reach images. */
export type LocateAccess = Pick<SourceAccess, "deps" | "folder">;

/** A located image. */
export interface LocatedImage {
  /** The file to pass to `findBootstrap`. */
  readonly source: string;
  /** What the file is to the user: its path, or "image.boot of layer sha256:… of registry.example/app:1". */
  readonly sourceName: string;
  /** Undefined if the user named no backend for a file's blobs. */
  readonly backend: Backend | undefined;
  /** The contents of `config`. */
  readonly config: NydusdConfig | undefined;
  /** Undefined for a file. */
  readonly manifest: Manifest | undefined;
}

/**
 * Locates an image, and writes its bootstrap into the folder unless it is a file already.
 *
 * @throws {NydusGdError} "usage", "not-found", "unsupported" for an image that is not a nydus image, and what a
 * registry answers
 */
export async function locateImage(
  { what, blobDir, config: configPath }: NamedImage,
  { deps, folder }: LocateAccess,
  signal: AbortSignal,
): Promise<LocatedImage> {
  refuseSources(what);
  const config = configPath === undefined ? undefined : await readNydusdConfig({ path: configPath, explicit: true });
  const source = `${folder}/image.boot`;
  using memory = new PagedMemory(folder);
  const unpacked = async ({ manifest, layer, bootstrap }: FetchedBootstrap, backend: Backend) => {
    await writeBootstrap(source, bootstrap, memory);
    return { source, sourceName: nameInLayer(layer, what), backend, config, manifest };
  };
  if (OciLayout.isNamed(what) || isArchiveNamed(what)) {
    const layout = await openLayout(what, folder, signal);
    return await unpacked(await bootstrapOfLayout(layout, memory), layout.blobs);
  }
  const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(what));
  if (info === undefined && !/^[./]/.test(what)) {
    const reference = parseReference(what);
    const registry = openRegistry({ host: reference.host, repo: reference.repository }, deps);
    return await unpacked(await fetchBootstrap(registry.transport, reference, signal, memory), registry);
  }
  const backend = blobDir !== undefined
    ? folderOf(blobDir)
    : config !== undefined
    ? openBackend(config.backend, deps)
    : undefined;
  // Whoever has mistyped the path is not asked for the place of its blobs.
  if (backend === undefined) await statFile(what);
  return { source: what, sourceName: what, backend, config, manifest: undefined };
}

/** Refuses what only a conversion reads; it would be taken for a name in a registry otherwise. */
function refuseSources(what: string): void {
  const refuse = (state: string, hint: string) =>
    new NydusGdError("unsupported", `Cannot read image ${what}: ${state}`, { hint });
  if (namedFolder(what) !== undefined) {
    throw refuse("a folder of files is not a nydus image", `nydus-gd convert ${what} TARGET`);
  }
  if (isDaemonNamed(what)) {
    throw refuse("nydus images are read from their registry, not from Docker", "name it as HOST/NAME:TAG");
  }
}

/** Returns the backend. @throws {NydusGdError} "usage" if the user named none */
export function requireBackend({ backend, sourceName }: LocatedImage, doing: string): Backend {
  if (backend !== undefined) return backend;
  throw new NydusGdError("usage", `Cannot ${doing} ${sourceName}: the location of its blobs is not given`, {
    hint: "--blob-dir DIR, or --config FILE",
  });
}

function nameInLayer({ digest }: Descriptor, image: string): string {
  return `image.boot of layer ${digest} of ${image}`;
}

function folderOf(dir: string): Backend {
  return LocalFsBackend.inFolder(dir);
}

async function openLayout(what: string, folder: string, signal: AbortSignal): Promise<OciLayout> {
  if (!isArchiveNamed(what)) return await OciLayout.open(what);
  const found = await openImageArchive(what, folder, signal);
  const layout = found && OciLayout.ofArchive(found.archive, found.name);
  if (layout !== undefined) return layout;
  throw new NydusGdError("unsupported", `Cannot read image ${what}: the archive has no OCI layout`, {
    hint: "for a layer with a bootstrap, or a bootstrap itself, name the file without tar:",
  });
}

async function bootstrapOfLayout(
  layout: OciLayout,
  memory: ImageMemory,
): Promise<FetchedBootstrap> {
  const manifest = await layout.manifest("nydus");
  const layer = bootstrapLayer(manifest) ?? manifest.layers[0];
  const bytes = layer && await layout.blob(layer, MAX_LAYER_BYTES);
  const found = bytes && await readBootstrapLayerIn(memory, bytes, `layer ${layer.digest}`);
  if (layer !== undefined && found !== undefined) return { manifest, layer, bootstrap: found.bootstrap };
  throw new NydusGdError("unsupported", `Cannot read image ${layout.description}: it is not a nydus image`, {
    hint: `nydus-gd convert ${layout.description} TARGET makes one of it`,
  });
}

/**
 * Opens the source to compare an image with: a folder, a tar, or an ordinary image in a registry, an OCI layout, a
 * Docker daemon or an archive.
 *
 * @module
 */
import { getManifest } from "../../backend/registry/manifest.ts";
import type { Backend } from "../../backend/blob_source.ts";
import { openRegistry } from "../../backend/open_backend.ts";
import { NydusGdError } from "../../base/errors.ts";
import { digestHex } from "../../oci/digest.ts";
import { bootstrapLayer, type Index, type Manifest } from "../../oci/manifest.ts";
import { isEntryFor, isMarkedNydus } from "../../oci/index_entry.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { formatReference, manifestName, parseReference, type Reference } from "../../oci/reference.ts";
import type { Repository } from "../../backend/registry/repository.ts";
import { isDaemonNamed, saveImage } from "../source/daemon_archive.ts";
import { savedImage } from "../source/saved_images.ts";
import { namedFolder } from "../source/folder_name.ts";
import { archivePath, type ImageArchive, isArchiveNamed, openImageArchive } from "../source/image_archive.ts";
import { OciLayout } from "../source/oci_layout.ts";
import type { SourceAccess } from "../source/source_access.ts";
import { folderTree } from "./folder_tree.ts";
import { layersTree, tarTree } from "./layer_trees.ts";
import type { SourceTree } from "./source_tree.ts";

/**
 * Reads the tree of a source: `dir:DIR`, `tar:FILE[:NAME]`, `oci:DIR[:TAG]`, `docker:NAME`, or an image reference.
 *
 * @param onProgress called with the number of layer bytes read
 * @throws {NydusGdError} "usage", "not-found", "invalid-image", "corrupt"; what a registry answers
 */
export async function openSource(
  text: string,
  access: SourceAccess,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  const folder = namedFolder(text);
  if (folder !== undefined) return folderTree(folder, signal);
  if (isDaemonNamed(text)) return await archiveTree(await saveImage(text, access, signal), signal, onProgress);
  if (isArchiveNamed(text)) {
    const images = await openImageArchive(text, access.folder, signal);
    if (images !== undefined) return await archiveTree(images, signal, onProgress);
    return await tarTree(archivePath(text), signal);
  }
  if (OciLayout.isNamed(text)) return await layoutTree(await OciLayout.open(text), signal, onProgress);
  const reference = parseReference(text);
  const registry = openRegistry({ host: reference.host, repo: reference.repository }, access.deps);
  return await treeOf(await ordinaryManifest(registry.transport, reference, signal), registry, signal, onProgress);
}

async function layoutTree(
  layout: OciLayout,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  return await treeOf(await layout.manifest("ordinary"), layout.blobs, signal, onProgress);
}

async function archiveTree(
  images: ImageArchive,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  const { archive, name } = images;
  const saved = await savedImage(images, signal);
  if (saved !== undefined) {
    const sources = saved.layers.map(async (layer) => {
      const source = archive.source(layer);
      return { digest: undefined, size: await source.size(signal), source };
    });
    return await layersTree(await Promise.all(sources), signal, onProgress);
  }
  const layout = OciLayout.ofArchive(archive, name);
  if (layout !== undefined) return await layoutTree(layout, signal, onProgress);
  throw new NydusGdError("invalid-image", `Cannot read archive ${archive.path}: it lists no images`);
}

async function treeOf(
  { layers }: Manifest,
  backend: Backend,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  const sources = layers.map(({ digest, size }) => ({ digest, size, source: backend.blob(digestHex(digest)) }));
  return await layersTree(sources, signal, onProgress);
}

async function ordinaryManifest(repository: Repository, reference: Reference, signal: AbortSignal): Promise<Manifest> {
  const named = await getManifest(repository, manifestName(reference), signal);
  if (named.document.kind === "manifest") return requireOrdinary(named.document.manifest, reference);
  for (const { digest } of entriesOf(named.document.index)) {
    const { document } = await getManifest(repository, digest, signal);
    if (document.kind === "manifest" && bootstrapLayer(document.manifest) === undefined) return document.manifest;
  }
  throw noOrdinary(reference);
}

function requireOrdinary(manifest: Manifest, reference: Reference): Manifest {
  if (bootstrapLayer(manifest) === undefined) return manifest;
  throw noOrdinary(reference);
}

/** Returns the entries for this machine that are not marked as nydus. */
function entriesOf({ manifests }: Index): Index["manifests"] {
  const host = hostPlatform();
  return manifests.filter((entry) => !isMarkedNydus(entry) && isEntryFor(entry, host));
}

function noOrdinary(reference: Reference): NydusGdError {
  const name = formatReference(reference);
  return new NydusGdError("not-found", `Cannot read image ${name}: it has no ordinary image for this machine`, {
    hint: "name the image that this one was made of",
  });
}

/**
 * What an image is compared with: a folder, a tar, or an ordinary image in a registry or an OCI layout.
 *
 * @module
 */
import { getManifest } from "../../backend/registry/manifest.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import type { Backend } from "../../backend/blob_source.ts";
import { type BackendDeps, openRegistry } from "../../backend/open_backend.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { digestHex } from "../../oci/digest.ts";
import { bootstrapLayer, type Index, type Manifest } from "../../oci/manifest.ts";
import { isEntryFor, isMarkedNydus } from "../../oci/index_entry.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { formatReference, manifestName, parseReference, type Reference } from "../../oci/reference.ts";
import type { Repository } from "../../backend/registry/repository.ts";
import { OciLayout } from "../oci_layout.ts";
import { folderTree } from "./folder_tree.ts";
import { layersTree, tarTree } from "./layer_trees.ts";
import type { SourceTree } from "./source_tree.ts";

/**
 * Reads the tree of a source: `dir:DIR`, `tar:FILE`, `oci:DIR[:TAG]`, or an image reference.
 *
 * @param onProgress told of bytes of layers that were read
 * @throws {NydusGdError} "usage", "not-found", "invalid-image", "corrupt"; what a registry answers
 */
export async function openSource(
  text: string,
  deps: BackendDeps,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  if (text.startsWith("dir:")) return folderTree(text.slice("dir:".length), signal);
  if (text.startsWith("tar:")) {
    const path = text.slice("tar:".length);
    const info = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path));
    if (info?.isFile) return await tarTree(path, signal);
    throw new NydusGdError("not-found", `Cannot compare with tar ${path}: there is no such file`);
  }
  if (OciLayout.isNamed(text)) {
    const layout = await OciLayout.open(text);
    const backend = new LocalFsBackend({ blobFile: undefined, dir: layout.blobDir, altDirs: [] });
    return await treeOf(await layout.manifest("ordinary"), backend, signal, onProgress);
  }
  const reference = parseReference(text);
  const registry = openRegistry({ host: reference.host, repo: reference.repository }, deps);
  return await treeOf(await ordinaryManifest(registry.transport, reference, signal), registry, signal, onProgress);
}

async function treeOf(
  { layers }: Manifest,
  backend: Backend,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<SourceTree> {
  const sources = layers.map((descriptor) => ({ descriptor, source: backend.blob(digestHex(descriptor.digest)) }));
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

/** For this machine, and not marked as nydus. */
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

/**
 * Determines the form of an image from its manifest, without its data.
 *
 * | form | layers | who can run it |
 * |---|---|---|
 * | standard | data blobs, then the bootstrap, marked by an annotation | nydus-snapshotter; not Docker, which cannot unpack a blob |
 * | bootstrap-only | the bootstrap, then ordinary layers, if any | Docker on this driver, by an ordinary pull |
 * | classic | ordinary layers | everybody |
 *
 * A bootstrap-only image may lack its annotation, since `docker push` drops it. It is then recognized by the first
 * names in its lowest layer.
 *
 * @module
 */
import { RegistryBackend } from "../../backend/registry/registry_backend.ts";
import { getSmallBlob } from "../../backend/registry/manifest.ts";
import type { Repository } from "../../backend/registry/repository.ts";
import { TarError } from "../../archive/tar.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import { toByteString } from "../../base/bytes.ts";
import { nodeZlib } from "../../base/node_modules.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestHex } from "../../oci/digest.ts";
import { bootstrapLayer, type Manifest } from "../../oci/manifest.ts";
import { isZlibError, layerCompression, NAMES_IN_LAYER } from "./bootstrap_layer_reader.ts";

/** The form of a lazy image. */
export type LazyForm =
  | { readonly kind: "bootstrap-only"; readonly bootstrap: Descriptor }
  /** `blobs`: all layers but the bootstrap. */
  | { readonly kind: "standard"; readonly bootstrap: Descriptor; readonly blobs: readonly Descriptor[] };

/** The form of an image. */
export type ImageForm = LazyForm | { readonly kind: "classic" };

/** Bytes of a layer to examine, enough for its first names. */
const HEAD_BYTES = 16 * 1024;

/** Returns the form of an image. @throws what the registry answers */
export async function imageForm(
  manifest: Manifest,
  repository: Repository,
  signal: AbortSignal | undefined,
): Promise<ImageForm> {
  const { layers } = manifest;
  const marked = bootstrapLayer(manifest);
  if (marked !== undefined && layers.length > 1) {
    return { kind: "standard", bootstrap: marked, blobs: layers.slice(0, -1) };
  }
  const [lowest] = layers;
  if (lowest === undefined) return { kind: "classic" };
  const isBootstrap = marked !== undefined || beginsWithBootstrap(await headOf(lowest, repository, signal));
  return isBootstrap ? { kind: "bootstrap-only", bootstrap: lowest } : { kind: "classic" };
}

/** Returns the first bytes of a layer, verified only if they are the whole layer. */
async function headOf(layer: Descriptor, repository: Repository, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (layer.size <= HEAD_BYTES) return await getSmallBlob(repository, layer, { maxBytes: HEAD_BYTES, signal });
  const options = { priority: "on-demand", ...(signal === undefined ? {} : { signal }) } as const;
  return await new RegistryBackend(repository).blob(digestHex(layer.digest)).read(0, HEAD_BYTES, options);
}

/** Whether a layer starts with a bootstrap, preceded only by what may accompany one. */
export function beginsWithBootstrap(head: Uint8Array): boolean {
  const search = new FirstNames();
  const reader = new TarReader(search);
  try {
    reader.push(plainHead(head));
  } catch (error) {
    if (!(error instanceof TarError) && !isZlibError(error)) throw error;
  }
  return search.hasBootstrap;
}

function plainHead(head: Uint8Array): Uint8Array {
  switch (layerCompression(head)) {
    case "none":
      return head;
    case "gzip": {
      const { constants, gunzipSync } = nodeZlib();
      return gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH }); // the stream is truncated
    }
    case "zstd":
      return new Uint8Array(0);
  }
}

class FirstNames {
  hasBootstrap = false;
  #isOther = false;

  entry({ name }: { readonly name: Uint8Array }): void {
    const path = toByteString(name).replace(/^(\.?\/+)+/, "");
    if (!this.#isOther && NAMES_IN_LAYER.includes(path)) this.hasBootstrap = true;
    this.#isOther ||= path !== "" && path !== "." && !path.startsWith("image/") && path !== "image";
  }

  data(): void {}

  endEntry(): void {}
}

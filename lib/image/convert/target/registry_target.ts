/**
 * A repository of a registry as the target of a conversion.
 *
 * All requests go to the registry itself: mirrors are only for reading.
 *
 * @module
 */
import { type BackendDeps, openRegistry } from "../../../backend/open_backend.ts";
import { hasManifest } from "../../../backend/registry/manifest.ts";
import { blobSize, mountBlob, pushBlob, pushManifest } from "../../../backend/registry/push.ts";
import { listReferrer } from "../../../backend/registry/referrers_tag.ts";
import type { RegistryBackend } from "../../../backend/registry/registry_backend.ts";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import { DEFAULT_TAG, formatReference, type Reference } from "../../../oci/reference.ts";
import { streamFile } from "../../source/file_stream.ts";
import type { ImageBlob } from "../../build/image_builder.ts";
import { type ImageContent, registryContent, type RepositoryPlace } from "../source/image_content.ts";
import type { ImageTarget, Put } from "./image_target.ts";
import { counted, type OnBytes } from "../../source/counted.ts";
import type { SpoolFolder } from "./spool_folder.ts";

/** Pushes a converted image to a registry. */
export class RegistryTarget implements ImageTarget {
  readonly description: string;
  readonly place: RepositoryPlace;
  readonly blobs: RegistryBackend;
  readonly #tag: string;

  /**
   * @param spool for temporary files of blobs
   * @throws {NydusGdError} "usage" for a reference by digest
   */
  constructor(
    private readonly reference: Reference,
    private readonly deps: BackendDeps,
    private readonly spool: SpoolFolder,
  ) {
    const { host, repository, tag = DEFAULT_TAG, digest } = reference;
    if (digest !== undefined) {
      throw new NydusGdError("usage", `Cannot write ${formatReference(reference)}: its digest is not known yet`, {
        hint: "name a tag",
      });
    }
    this.description = formatReference(reference);
    this.place = { registry: host, repository };
    this.#tag = tag;
    const { mirrors: _, ...itself } = deps;
    this.blobs = openRegistry({ host, repo: repository, actions: "pull,push" }, itself);
  }

  spoolPath(): Promise<string> {
    return this.spool.newPath();
  }

  async has({ digest, size }: Put, signal: AbortSignal): Promise<boolean> {
    return await blobSize(this.blobs.transport, digest, signal) === size;
  }

  async mount({ digest }: Put, { registry, repository }: RepositoryPlace, signal: AbortSignal): Promise<boolean> {
    if (registry !== this.place.registry || repository === this.place.repository) return false;
    return await mountBlob(this.blobs.transport, digest, repository, signal);
  }

  async putFile({ digest, size }: Put, path: string, onBytes: OnBytes, signal: AbortSignal): Promise<void> {
    const open = () => counted(streamFile(path, signal), onBytes);
    await pushBlob(this.blobs.transport, digest, { length: size, open }, signal);
    await ignore(Deno.errors.NotFound, Deno.remove(path));
  }

  async putBytes({ digest, bytes }: ImageBlob, signal: AbortSignal): Promise<void> {
    const size = bytes.length;
    if (await this.has({ digest, size }, signal)) return;
    await pushBlob(this.blobs.transport, digest, bytes, signal);
  }

  async putManifest(manifest: ImageBlob, signal: AbortSignal): Promise<void> {
    const { transport } = this.blobs;
    if (await pushManifest(transport, manifest.digest, manifest, signal)) return;
    await listReferrer(transport, manifest, signal);
  }

  async putReferrer(manifest: ImageBlob, signal: AbortSignal): Promise<void> {
    await this.putManifest(manifest, signal);
  }

  async present(signal: AbortSignal): Promise<ImageContent | undefined> {
    const isThere = await hasManifest(this.blobs.transport, this.#tag, signal);
    return isThere ? registryContent(this.reference, this.deps) : undefined;
  }

  async publish(manifests: readonly ImageBlob[], root: ImageBlob, signal: AbortSignal): Promise<void> {
    for (const manifest of manifests) await this.putManifest(manifest, signal);
    await pushManifest(this.blobs.transport, this.#tag, root, signal);
  }

  async discard(): Promise<void> {}
}

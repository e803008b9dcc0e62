/**
 * Distinguishes image archives from tars of files by the names in them.
 *
 * | written by | names |
 * |---|---|
 * | `docker save`, `podman save`, skopeo | `manifest.json`, `repositories`, `ID.json`, `ID.tar`, `ID/`, `ID/layer.tar`, `ID/json`, `ID/VERSION` |
 * | the same from Docker 25 on, OCI layouts | `oci-layout`, `index.json`, `blobs/`, `blobs/sha256/ID` |
 * | go-containerregistry, Jib | `sha256:ID`, `ID.tar.gz`, `config.json` |
 * | scripts that pack layers for `docker load` | `NAME/layer.tar`, which need not be an id |
 *
 * Image archives contain no other names, so the first other name identifies a tar of files.
 *
 * @module
 */
import { posix } from "node:path";
import type { TarVisitor } from "../../archive/tar_reader.ts";

/** The file that holds the list of images, where `docker save` or the like has written the archive. */
export const SAVED_IMAGES = "manifest.json";

const IN_IMAGE_ARCHIVES =
  /^(\.?|blobs(\/[a-z0-9+._-]+(\/[0-9a-f]+)?)?|oci-layout|repositories|[^/]+\.(json|tar|tar\.gz)|(sha256:)?[0-9a-f]{64}|[^/]+\/(json|VERSION|layer\.tar))$/;

/** Whether an image archive may contain this name. @param name as returned by {@link plainName} */
export function isOfImages(name: string): boolean {
  return IN_IMAGE_ARCHIVES.test(name);
}

/** Normalizes a name: "./blobs//sha256/" becomes "blobs/sha256", "./" the empty string. */
export function plainName(name: string): string {
  return posix.normalize(name).replace(/^(\.\/|\/)+/, "").replace(/\/$/, "");
}

/** Examines the names of an archive that is read as a stream. */
export class ImageArchiveNames implements TarVisitor {
  /** Whether a name has occurred that no image archive contains. */
  isOfFiles = false;

  entry({ name }: { readonly name: Uint8Array }): void {
    this.isOfFiles ||= !isOfImages(plainName(new TextDecoder().decode(name)));
  }

  data(): void {}

  endEntry(): void {}
}

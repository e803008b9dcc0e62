/**
 * Tells an archive of images from one of files, by the names in it.
 *
 * | written by | names |
 * |---|---|
 * | `docker save`, `podman save`, skopeo | `manifest.json`, `repositories`, `ID.json`, `ID.tar`, `ID/`, `ID/layer.tar`, `ID/json`, `ID/VERSION` |
 * | the same from Docker 25 on, OCI layouts | `oci-layout`, `index.json`, `blobs/`, `blobs/sha256/ID` |
 * | go-containerregistry, Jib | `sha256:ID`, `ID.tar.gz`, `config.json` |
 * | scripts that pack layers for `docker load` | `NAME/layer.tar`, which need not be an id |
 *
 * No other names are in such archives, so the first one that is none of these ends the look at an archive of files.
 *
 * @module
 */
import { posix } from "node:path";
import type { TarVisitor } from "../../archive/tar_reader.ts";

const IN_IMAGE_ARCHIVES =
  /^(\.?|blobs(\/[a-z0-9+._-]+(\/[0-9a-f]+)?)?|oci-layout|repositories|[^/]+\.(json|tar|tar\.gz)|(sha256:)?[0-9a-f]{64}|[^/]+\/(json|VERSION|layer\.tar))$/;

/** Whether an archive of images may have this name. @param name as {@link plainName} gives it */
export function isOfImages(name: string): boolean {
  return IN_IMAGE_ARCHIVES.test(name);
}

/** "./blobs//sha256/" is "blobs/sha256", "./" is empty. */
export function plainName(name: string): string {
  return posix.normalize(name).replace(/^(\.\/|\/)+/, "").replace(/\/$/, "");
}

/** Looks at the names of an archive that comes in pieces. */
export class ImageArchiveNames implements TarVisitor {
  /** Whether a name has come that no archive of images has. */
  isOfFiles = false;

  entry({ name }: { readonly name: Uint8Array }): void {
    this.isOfFiles ||= !isOfImages(plainName(new TextDecoder().decode(name)));
  }

  data(): void {}

  endEntry(): void {}
}

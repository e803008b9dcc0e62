/**
 * Media types and annotations of images: OCI, Docker and nydus.
 *
 * Sources: OCI image spec 1.1, Docker image manifest v2 schema 2, dragonflyoss/nydus 34e6071e.
 *
 * @module
 */

/** Media types by meaning. */
export const MEDIA_TYPE = {
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociConfig: "application/vnd.oci.image.config.v1+json",
  ociEmpty: "application/vnd.oci.empty.v1+json",
  ociLayer: "application/vnd.oci.image.layer.v1.tar",
  ociLayerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  ociLayerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerManifestList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  dockerLayer: "application/vnd.docker.image.rootfs.diff.tar",
  dockerLayerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  nydusBlob: "application/vnd.oci.image.layer.nydus.blob.v1",
  nydusConfig: "application/vnd.nydus.image.config.v1+json",
  /** The artifactType of a descriptor in an index. */
  nydusManifest: "application/vnd.nydus.image.manifest.v1+json",
} as const;

/** Annotations of nydus layers; values are strings. */
export const NYDUS_ANNOTATION = {
  /** "true" on a data blob. */
  blob: "containerd.io/snapshot/nydus-blob",
  /** "true" on the bootstrap, always the last layer. */
  bootstrap: "containerd.io/snapshot/nydus-bootstrap",
  /** "5" or "6" on the bootstrap. */
  fsVersion: "containerd.io/snapshot/nydus-fs-version",
  /** On a data blob that refers to an original layer: the digest of that layer. */
  ociRef: "containerd.io/snapshot/nydus-ref",
  /** "true" on an encrypted data blob. */
  encryptedBlob: "containerd.io/snapshot/nydus-encrypted-blob",
} as const;

/** In os.features of index entries made by nydusify before 2.3.5. */
export const NYDUS_OS_FEATURE = "nydus.remoteimage.v1";

/** Accept header for manifests, in order of preference. */
export const MANIFEST_ACCEPT: readonly string[] = [
  MEDIA_TYPE.ociIndex,
  MEDIA_TYPE.dockerManifestList,
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.dockerManifest,
];

/** Whether the media type is an index, OCI or Docker. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociIndex || mediaType === MEDIA_TYPE.dockerManifestList;
}

/** Whether the media type is an image manifest, OCI or Docker. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociManifest || mediaType === MEDIA_TYPE.dockerManifest;
}

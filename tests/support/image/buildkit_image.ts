/**
 * Nydus images as BuildKit exports them (`--output type=image,compression=nydus,push=true`): a blob per layer, each
 * carrying the layer's own bootstrap, then the merged bootstrap without any statement of its RAFS version, all in an
 * index with the build's attestations.
 *
 * Source: moby/buildkit, cache/compression_nydus.go, util/compression/nydus.go, exporter/containerimage/writer.go and
 * patch_nydus.go; docs/attestations/attestation-storage.md.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { bootstrapLayerTar } from "../../../lib/image/build/image_builder.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "../../../lib/oci/media_types.ts";
import { type ImageStore, type LazyImage, PLATFORM, type PushedManifest } from "./nydus_images.ts";
import { digestOf, type Pushed } from "../backend/registry_client.ts";

const { os, architecture } = PLATFORM;
const NOWHERE = { os: "unknown", architecture: "unknown" };
const COMMENT = "buildkit.dockerfile.v0";

/** Pushes the image under a tag. @returns its manifest */
export async function pushAsBuildkit(
  store: ImageStore,
  tag: string,
  { bootstrap, blobs }: LazyImage,
): Promise<PushedManifest> {
  const data = await Promise.all(blobs.map(async (bytes) => ({
    mediaType: MEDIA_TYPE.nydusBlob,
    ...await store.pushBlob(bytes),
    annotations: { [NYDUS_ANNOTATION.blob]: "true" },
  })));
  const tar = bootstrapLayerTar(bootstrap);
  const ids = data.map(({ digest }) => digest.slice("sha256:".length));
  const merged = {
    mediaType: MEDIA_TYPE.ociLayerGzip,
    ...await store.pushBlob(new Uint8Array(gzipSync(tar))),
    annotations: {
      [NYDUS_ANNOTATION.bootstrap]: "true",
      "containerd.io/snapshot/nydus-blob-ids": JSON.stringify(ids),
    },
  };
  const image = await pushManifest(store, [...data, merged], {
    ...{ os, architecture },
    config: { Env: ["PATH=/bin"], Cmd: ["/bin/cat", "/hello"], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [...data.map(({ digest }) => digest), digestOf(tar)] },
    history: [
      ...data.map((_, k) => ({ created_by: `COPY layer-${k} / # buildkit`, comment: COMMENT })),
      { created_by: 'CMD ["/bin/cat" "/hello"]', comment: COMMENT, empty_layer: true },
      { created_by: "created by buildkit", comment: "buildkit.exporter.image.v0" },
    ],
  });
  const attestation = await pushAttestation(store, image.digest);
  const manifests = [{ ...image, platform: { os, architecture } }, attestation];
  await store.pushManifest(tag, MEDIA_TYPE.ociIndex, { mediaType: MEDIA_TYPE.ociIndex, schemaVersion: 2, manifests });
  return image;
}

/** Pushes the attestation of a build. @returns the index's entry */
async function pushAttestation(store: ImageStore, image: string): Promise<object> {
  const statement = new TextEncoder().encode(JSON.stringify({ predicateType: "https://slsa.dev/provenance/v0.2" }));
  const layer = {
    mediaType: "application/vnd.in-toto+json",
    ...await store.pushBlob(statement),
    annotations: { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" },
  };
  const manifest = await pushManifest(store, [layer], {
    ...NOWHERE,
    config: {},
    rootfs: { type: "layers", diff_ids: [digestOf(statement)] },
  });
  return {
    ...manifest,
    annotations: { "vnd.docker.reference.digest": image, "vnd.docker.reference.type": "attestation-manifest" },
    platform: NOWHERE,
  };
}

async function pushManifest(
  store: ImageStore,
  layers: readonly (Pushed & { readonly mediaType: string })[],
  config: object,
): Promise<PushedManifest> {
  const mediaType = MEDIA_TYPE.ociManifest;
  const pushed = await store.pushBlob(new TextEncoder().encode(JSON.stringify(config)));
  const document = { mediaType, schemaVersion: 2, config: { mediaType: MEDIA_TYPE.ociConfig, ...pushed }, layers };
  const digest = digestOf(new TextEncoder().encode(JSON.stringify(document)));
  return { ...await store.pushManifest(digest, mediaType, document), mediaType };
}

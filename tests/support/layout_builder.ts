/**
 * Ordinary images in OCI layouts, made of layer tars.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";

/** How a layer is stored, or a whole descriptor's media type that says something else. */
export interface TestLayer {
  readonly tar: Uint8Array;
  readonly compression?: "none" | "gzip" | "zstd";
  readonly mediaType?: string;
  /** In place of the tar's own. */
  readonly diffId?: string;
  /** In place of the stored bytes, under their digest. */
  readonly damaged?: Uint8Array;
}

/** An image for one platform. */
export interface TestImage {
  readonly architecture?: string;
  readonly layers: readonly TestLayer[];
  readonly config?: Record<string, unknown>;
  readonly history?: readonly Record<string, unknown>[];
  readonly annotations?: Record<string, string>;
}

const MEDIA_TYPES = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
} as const;

const sha256 = (bytes: Uint8Array | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Writes an image, or an index of several, as `dir`:1. */
export async function writeLayout(dir: string, ...images: readonly TestImage[]): Promise<void> {
  await Deno.mkdir(`${dir}/blobs/sha256`, { recursive: true });
  const put = async (bytes: Uint8Array | string, mediaType: string, stored = bytes) => {
    const digest = sha256(bytes);
    const content = typeof stored === "string" ? new TextEncoder().encode(stored) : stored;
    await Deno.writeFile(`${dir}/blobs/${digest.replace(":", "/")}`, content);
    return { mediaType, digest, size: new Blob([bytes as BlobPart]).size };
  };
  const manifests: object[] = [];
  for (const { architecture = "amd64", layers, config = {}, history = [], annotations = {} } of images) {
    const descriptors = [];
    for (const { tar, compression = "gzip", mediaType = MEDIA_TYPES[compression], damaged } of layers) {
      const stored = compression === "none" ? tar : compression === "gzip" ? gzipSync(tar) : zstdCompressSync(tar);
      descriptors.push(await put(stored, mediaType, damaged ?? stored));
    }
    const rootfs = { type: "layers", diff_ids: layers.map(({ tar, diffId }) => diffId ?? sha256(tar)) };
    const configuration = JSON.stringify({ architecture, os: "linux", config, rootfs, history });
    const type = "application/vnd.oci.image.manifest.v1+json";
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: type,
      config: await put(configuration, "application/vnd.oci.image.config.v1+json"),
      layers: descriptors,
      annotations,
    });
    manifests.push({ ...await put(manifest, type), platform: { architecture, os: "linux" } });
  }
  const type = "application/vnd.oci.image.index.v1+json";
  const name = { annotations: { "org.opencontainers.image.ref.name": "1" } };
  const index = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests });
  const named = images.length === 1 ? { ...manifests[0], ...name } : { ...await put(index, type), ...name };
  await Deno.writeTextFile(
    `${dir}/index.json`,
    JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [named] }),
  );
  await Deno.writeTextFile(`${dir}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
}

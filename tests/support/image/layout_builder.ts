/**
 * Ordinary images in OCI layouts, made from layer tars.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";

/** How a layer is stored, with overrides for what its descriptor says. */
export interface TestLayer {
  readonly tar: Uint8Array;
  readonly compression?: "none" | "gzip" | "zstd";
  /** The stored bytes, if not a plain compression of the tar. */
  readonly stored?: Uint8Array;
  readonly mediaType?: string;
  /** Overrides the tar's own diffID. */
  readonly diffId?: string;
  /** Stored instead of the right bytes, under their digest. */
  readonly damaged?: Uint8Array;
}

/** An image for one platform. */
export interface TestImage {
  readonly architecture?: string;
  /** In its configuration; its index has "linux". */
  readonly os?: string;
  /** Media type of its configuration. */
  readonly configType?: string;
  readonly layers: readonly TestLayer[];
  readonly config?: Record<string, unknown>;
  readonly history?: readonly Record<string, unknown>[];
  readonly annotations?: Record<string, string>;
  /** `os.features` in its index. */
  readonly osFeatures?: readonly string[];
  /** Attestation in its index, as by BuildKit. */
  readonly attested?: string;
  /** The manifest that it refers to. */
  readonly subject?: LayoutDescriptor;
}

/** A descriptor of content in a layout. */
export interface LayoutDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const MEDIA_TYPES = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
} as const;

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const EMPTY = "application/vnd.oci.empty.v1+json";

/** When every image was created, by its configuration. */
export const CREATED = "2024-01-01T00:00:00Z";

const sha256 = (bytes: Uint8Array | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Adds a blob to the layout; with other bytes under its name if `stored` is given. */
async function put(
  dir: string,
  bytes: Uint8Array | string,
  mediaType: string,
  stored = bytes,
): Promise<LayoutDescriptor> {
  const digest = sha256(bytes);
  const content = typeof stored === "string" ? new TextEncoder().encode(stored) : stored;
  await Deno.writeFile(`${dir}/blobs/${digest.replace(":", "/")}`, content);
  return { mediaType, digest, size: new Blob([bytes as BlobPart]).size };
}

/** Writes an image, or an index of several, as `dir`:1. @returns the descriptors of the images */
export async function writeLayout(dir: string, ...images: readonly TestImage[]): Promise<LayoutDescriptor[]> {
  await Deno.mkdir(`${dir}/blobs/sha256`, { recursive: true });
  const entries: object[] = [];
  const written: LayoutDescriptor[] = [];
  for (const image of images) {
    const { architecture = "amd64", osFeatures, attested } = image;
    const descriptor = await putImage(dir, image);
    written.push(descriptor);
    const features = osFeatures === undefined ? {} : { "os.features": osFeatures };
    entries.push({ ...descriptor, platform: { architecture, os: "linux", ...features } });
    if (attested !== undefined) entries.push(await putAttestation(dir, descriptor.digest, attested));
  }
  const name = { annotations: { "org.opencontainers.image.ref.name": "1" } };
  const isPlain = entries.length === 1 && images[0]?.osFeatures === undefined;
  const index = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: entries });
  const named = isPlain ? { ...entries[0], ...name } : { ...await put(dir, index, INDEX), ...name };
  await writeIndex(dir, [named]);
  await Deno.writeTextFile(`${dir}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  return written;
}

/** Adds a referrer of `subject` to a layout: a manifest with one layer, `text`. */
export async function addReferrer(
  dir: string,
  subject: LayoutDescriptor,
  artifactType: string,
  text: string,
): Promise<LayoutDescriptor> {
  const descriptor = await put(dir, JSON.stringify(await artifact(dir, subject, artifactType, text)), MANIFEST);
  const { manifests } = JSON.parse(await Deno.readTextFile(`${dir}/index.json`)) as { manifests: object[] };
  await writeIndex(dir, [...manifests, { ...descriptor, artifactType }]);
  return descriptor;
}

async function artifact(
  dir: string,
  { mediaType, digest, size }: LayoutDescriptor,
  artifactType: string,
  text: string,
) {
  return {
    ...{ schemaVersion: 2, mediaType: MANIFEST, artifactType },
    config: await put(dir, "{}", EMPTY),
    layers: [await put(dir, text, "text/plain")],
    subject: { mediaType, digest, size },
  };
}

async function writeIndex(dir: string, manifests: readonly object[]): Promise<void> {
  await Deno.writeTextFile(`${dir}/index.json`, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
}

async function putImage(dir: string, image: TestImage): Promise<LayoutDescriptor> {
  const { architecture = "amd64", os = "linux", configType = CONFIG, layers, config = {}, history = [] } = image;
  const { annotations = {}, subject } = image;
  const descriptors = [];
  for (const layer of layers) {
    const { compression = "gzip", stored = compress(layer.tar, compression), damaged } = layer;
    const { mediaType = MEDIA_TYPES[compression] } = layer;
    descriptors.push(await put(dir, stored, mediaType, damaged ?? stored));
  }
  const rootfs = { type: "layers", diff_ids: layers.map(({ tar, diffId }) => diffId ?? sha256(tar)) };
  const configuration = JSON.stringify({ architecture, os, created: CREATED, config, rootfs, history });
  const manifest = {
    ...{ schemaVersion: 2, mediaType: MANIFEST },
    config: await put(dir, configuration, configType),
    layers: descriptors,
    ...(subject === undefined ? {} : { subject }),
    annotations,
  };
  return await put(dir, JSON.stringify(manifest), MANIFEST);
}

function compress(tar: Uint8Array, compression: keyof typeof MEDIA_TYPES): Uint8Array {
  if (compression === "none") return tar;
  return compression === "gzip" ? gzipSync(tar) : zstdCompressSync(tar);
}

/** Adds an attestation as BuildKit stores it: a separate manifest for no platform. @returns the index's entry */
async function putAttestation(dir: string, image: string, statement: string): Promise<object> {
  const platform = { architecture: "unknown", os: "unknown" };
  const config = JSON.stringify({ ...platform, config: {}, rootfs: { type: "layers", diff_ids: [sha256(statement)] } });
  const manifest = {
    ...{ schemaVersion: 2, mediaType: MANIFEST },
    config: await put(dir, config, CONFIG),
    layers: [await put(dir, statement, "application/vnd.in-toto+json")],
  };
  return {
    ...await put(dir, JSON.stringify(manifest), MANIFEST),
    annotations: { "vnd.docker.reference.digest": image, "vnd.docker.reference.type": "attestation-manifest" },
    platform,
  };
}

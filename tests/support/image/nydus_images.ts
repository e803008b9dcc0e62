/**
 * Images in the forms in which tools push them: standard nydus images as by nydusify, bootstrap-only ones, classic
 * ones, and indexes of them.
 *
 * ```ts
 * const pusher = new ImagePusher(new RegistryClient(registry.url, "app"));
 * const lazy = await pusher.standard(runnableImage("hello"));
 * await pusher.index("1.0", [{ ...lazy, platform: PLATFORM }]);
 * ```
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { bootstrapLayerTar } from "../../../lib/image/build/image_builder.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "../../../lib/oci/media_types.ts";
import { hostPlatform, type Platform } from "../../../lib/oci/platform.ts";
import { requiredBlobIds } from "../../../lib/rafs/format/flags.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { buildFrom } from "../rafs/built_rafs.ts";
import type { FakeRegistry } from "../backend/fake_registry.ts";
import { fixtureOf, RAFS_FIXTURES, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import { digestOf, type Pushed } from "../backend/registry_client.ts";
import { dir, file, symlink, tarOf } from "../archive/tar_builder.ts";

/** The platform of this machine. */
export const PLATFORM: Platform = hostPlatform();
/** A platform other than this machine's. */
export const OTHER_PLATFORM: Platform = {
  os: "linux",
  architecture: PLATFORM.architecture === "amd64" ? "arm64" : "amd64",
};

/** Destination of pushes. */
export interface ImageStore {
  pushBlob(bytes: Uint8Array<ArrayBuffer>): Promise<Pushed>;
  /** @param name a tag, or the digest of the document */
  pushManifest(name: string, mediaType: string, document: unknown): Promise<Pushed>;
}

/** A pushed manifest. */
export interface PushedManifest extends Pushed {
  readonly mediaType: string;
}

/** A lazy image in memory. */
export interface LazyImage {
  readonly bootstrap: Uint8Array;
  readonly blobs: readonly Uint8Array<ArrayBuffer>[];
}

/** Options of a manifest. */
export interface ManifestOptions {
  /** Also pushed under this tag. */
  readonly tag?: string;
  readonly platform?: Platform;
  /** The manifest that it refers to. */
  readonly subject?: PushedManifest;
  /** Media type of the configuration. */
  readonly configType?: string;
  readonly cmd?: readonly string[];
}

/** A tree with busybox and `/hello`, as a lazy image: one blob. */
export async function runnableImage(hello: string): Promise<LazyImage> {
  const { bytes, blob } = await buildFrom(await runnableTree(hello), { chunkSize: 64 * 1024 });
  return { bootstrap: bytes, blobs: [blob] };
}

/** The same tree as the layer of a classic image. */
export async function runnableTree(hello: string): Promise<Uint8Array<ArrayBuffer>> {
  const busybox = await Deno.readFile("/bin/busybox");
  return tarOf(
    dir("bin"),
    file("bin/busybox", busybox, { mode: 0o755 }),
    ...["sh", "cat", "sleep"].map((applet) => symlink(`bin/${applet}`, "busybox")),
    file("hello", hello),
  );
}

/** A fixture made by nydus-image. */
export async function fixtureImage(name: string): Promise<LazyImage> {
  const bootstrap = await readFixtureBootstrap(fixtureOf(name));
  const ids = openBootstrap(bootstrap).blobs.flatMap(requiredBlobIds);
  return { bootstrap, blobs: await Promise.all(ids.map((id) => Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`))) };
}

interface Layer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mediaType: string;
  readonly diffId: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Pushes images into one repository. */
export class ImagePusher {
  constructor(private readonly store: ImageStore) {}

  /** Pushes into an in-process registry. */
  static into(registry: FakeRegistry): ImagePusher {
    return new ImagePusher({
      pushBlob: (bytes) => {
        registry.addBlob(bytes);
        return Promise.resolve({ digest: digestOf(bytes), size: bytes.length });
      },
      pushManifest: (name, mediaType, document) => {
        const bytes = new TextEncoder().encode(JSON.stringify(document));
        registry.addManifest(name, mediaType, bytes);
        return Promise.resolve({ digest: digestOf(bytes), size: bytes.length });
      },
    });
  }

  /** Pushes data blobs, then the bootstrap. */
  standard({ bootstrap, blobs }: LazyImage, options: ManifestOptions = {}): Promise<PushedManifest> {
    const data = blobs.map((bytes) => ({
      bytes,
      mediaType: MEDIA_TYPE.nydusBlob,
      diffId: digestOf(bytes),
      annotations: { [NYDUS_ANNOTATION.blob]: "true" },
    }));
    const annotations = { [NYDUS_ANNOTATION.bootstrap]: "true", [NYDUS_ANNOTATION.fsVersion]: "6" };
    const layer = { ...ordinary(bootstrapLayerTar(bootstrap)), annotations };
    return this.#manifest([...data, layer], options);
  }

  /** Pushes the bootstrap without annotations and ordinary layers above it; no manifest refers to the blobs. */
  async bootstrapOnly(
    { bootstrap, blobs }: LazyImage,
    above: readonly Uint8Array<ArrayBuffer>[],
    options: ManifestOptions = {},
  ): Promise<PushedManifest> {
    for (const bytes of blobs) await this.store.pushBlob(bytes);
    return await this.#manifest([bootstrapLayerTar(bootstrap), ...above].map(ordinary), options);
  }

  /** Pushes ordinary layers, lowest first. */
  classic(layers: readonly Uint8Array<ArrayBuffer>[], options: ManifestOptions = {}): Promise<PushedManifest> {
    return this.#manifest(layers.map(ordinary), options);
  }

  /** Pushes an index under a tag. */
  async index(tag: string, manifests: readonly unknown[]): Promise<PushedManifest> {
    const document = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests };
    return { ...await this.store.pushManifest(tag, MEDIA_TYPE.ociIndex, document), mediaType: MEDIA_TYPE.ociIndex };
  }

  async #manifest(layers: readonly Layer[], options: ManifestOptions): Promise<PushedManifest> {
    const { tag, subject, platform = PLATFORM, configType = MEDIA_TYPE.ociConfig, cmd = ["/bin/cat", "/hello"] } =
      options;
    const config = {
      ...{ os: platform.os, architecture: platform.architecture },
      config: { Cmd: cmd, Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map((_, index) => ({ created_by: `layer ${index}` })),
    };
    const pushedConfig = await this.store.pushBlob(new TextEncoder().encode(JSON.stringify(config)));
    const pushed = [];
    for (const { bytes, mediaType, annotations } of layers) {
      pushed.push({ mediaType, ...await this.store.pushBlob(bytes), ...(annotations ? { annotations } : {}) });
    }
    const mediaType = MEDIA_TYPE.ociManifest;
    const document = {
      schemaVersion: 2,
      mediaType,
      config: { mediaType: configType, ...pushedConfig },
      layers: pushed,
      ...(subject === undefined ? {} : { subject }),
    };
    const digest = digestOf(new TextEncoder().encode(JSON.stringify(document)));
    if (tag !== undefined) await this.store.pushManifest(tag, mediaType, document);
    return { ...await this.store.pushManifest(digest, mediaType, document), mediaType };
  }
}

function ordinary(tar: Uint8Array<ArrayBuffer>): Layer {
  return { bytes: new Uint8Array(gzipSync(tar)), mediaType: MEDIA_TYPE.ociLayerGzip, diffId: digestOf(tar) };
}

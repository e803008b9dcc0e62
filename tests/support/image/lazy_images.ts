/**
 * Images for {@link FakeRegistry}: with a fixture as bootstrap, or of any layers, each under its own tag.
 *
 * @module
 */
import { bootstrapLayerTar, buildImage, type BuiltImage } from "../../../lib/image/build/image_builder.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import type { FakeRegistry } from "../backend/fake_registry.ts";
import { fixtureOf, RAFS_FIXTURES, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import { hostPlatform } from "../../../lib/oci/platform.ts";

/** An image in the registry. */
export interface StoredImage {
  /** Reference that Docker pulls. */
  readonly reference: string;
  /** Ids of its data blobs. */
  readonly blobs: readonly string[];
  /** Id of its topmost layer. */
  readonly topLayer: string;
}

/** Adds an image of these layers, lowest first, to `registry`. */
export async function storeImage(
  registry: FakeRegistry,
  tag: string,
  layers: readonly Uint8Array[],
  blobs: readonly Uint8Array[] = [],
): Promise<StoredImage> {
  const image = await buildImage(layers, { architecture: hostPlatform().architecture });
  for (const { bytes } of [image.config, ...image.layers]) registry.addBlob(bytes);
  registry.addManifest(tag, image.manifest.mediaType, image.manifest.bytes);
  registry.addManifest(image.manifest.digest, image.manifest.mediaType, image.manifest.bytes);
  return {
    reference: `${registry.host}/app:${tag}`,
    blobs: blobs.map((bytes) => registry.addBlob(bytes)),
    topLayer: topLayerOf(image),
  };
}

/** A fixture to store as a lazy image. */
export interface LazyFixture {
  readonly tag: string;
  /** Name of the fixture. */
  readonly made: string;
  /** Layers above its bootstrap. Default: none. */
  readonly above?: readonly Uint8Array[];
  /** HOST of the blobs' registry, recorded in the bootstrap layer; absent: not recorded. */
  readonly named?: string;
}

/** Adds a fixture to `registry` as a lazy image. */
export async function storeLazy(
  registry: FakeRegistry,
  { tag, made, above = [], named }: LazyFixture,
): Promise<StoredImage> {
  const bootstrap = await readFixtureBootstrap(fixtureOf(made));
  const ids = openBootstrap(bootstrap).blobs.map(({ id }) => id);
  const blobs = await Promise.all(ids.map((id) => Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`)));
  const blobSizes = new Map(ids.map((id, index) => [id, blobs[index]?.length ?? 0]));
  const origin = named === undefined ? undefined : { registry: named, repository: "app", blobSizes };
  return await storeImage(registry, tag, [bootstrapLayerTar(bootstrap, origin), ...above], blobs);
}

function topLayerOf({ layers }: BuiltImage): string {
  return layers.at(-1)?.digest.replace("sha256:", "") ?? "";
}

/**
 * What a layer store is made of: what it is given, and what its own parts share.
 *
 * @module
 */
import type { GoneLayers } from "./remove/gone_layers.ts";
import type { IdMaps } from "./userns/id_maps.ts";
import type { ImageViews } from "./lazy/image_views.ts";
import type { LayerCalls } from "./layer_calls.ts";
import type { LayerDiffer } from "./layer_diffs.ts";
import type { LayerMounts } from "./layer_mounts.ts";
import type { HomePaths } from "./record/layer_paths.ts";
import type { LazyImages } from "./lazy/lazy_images.ts";
import type { KnownLazyLayers } from "./known_lazy_layers.ts";
import type { LayerApplier } from "./make/unpack_layer.ts";
import type { DockerRecords } from "./record/docker_records.ts";

/** Dependencies and options of a store. */
export interface LayerStoreParts {
  readonly lazyImages: LazyImages;
  readonly applier: LayerApplier;
  readonly differ: LayerDiffer;
  /** Of the containers' user namespace. */
  readonly idMaps: IdMaps;
  /** Default limit for the data that a container may write, in bytes; 0: no limit. */
  readonly limitBytes: number;
  /** Milliseconds after which dockerd has forgotten a layer of a container that it has not made. */
  readonly unbornAfterMs: number;
  readonly dockerRecords: DockerRecords;
}

/** What the parts of one store share. */
export interface StoreInside extends LayerStoreParts {
  readonly paths: HomePaths;
  readonly views: ImageViews;
  readonly calls: LayerCalls;
  readonly mounts: LayerMounts;
  readonly gone: GoneLayers;
  readonly lazyLayers: KnownLazyLayers;
}

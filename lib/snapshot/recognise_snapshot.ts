/**
 * Determines what kind of layer the files of a snapshot are, when it is finished.
 *
 * @module
 */
import type { LazyImages } from "../layer/lazy/lazy_images.ts";
import { recogniseLayer } from "../layer/record/recognise_layer.ts";
import { diffIdOf, type Labels, labelsOf, referenceOf } from "./labels.ts";
import type { SnapshotBases } from "./snapshot_bases.ts";
import type { SnapshotPaths } from "./snapshot_paths.ts";
import type { Snapshot } from "./snapshot_record.ts";

/** What it takes to recognise a snapshot. */
export interface Recognition {
  readonly paths: SnapshotPaths;
  readonly lazyImages: Pick<LazyImages, "verify">;
  readonly bases: SnapshotBases;
}

/**
 * Returns what the files of the writable snapshot `active` are.
 *
 * @param name the name that it is finished under, with these labels
 * @throws {NydusGdError} if it has the form of a bootstrap layer and is none, or has to be one and is not
 */
export async function recogniseSnapshot(
  active: Snapshot,
  name: string,
  labels: Labels,
  { paths, lazyImages, bases }: Recognition,
): Promise<NonNullable<Snapshot["layer"]>> {
  const recognised = await recogniseLayer(paths.of(active.number).fs, lazyImages);
  if (recognised.bootstrap === undefined) {
    bases.whole(`commit snapshot ${JSON.stringify(active.name)}`, active.parent);
    return { ...recognised, isBlob: false };
  }
  const diffId = diffIdOf(name, labels, active.parent);
  const reference = referenceOf(labels) ?? referenceOf(labelsOf(active));
  return {
    ...recognised,
    isBlob: false,
    ...(diffId === undefined ? {} : { diffId }),
    ...(reference === undefined ? {} : { reference }),
  };
}

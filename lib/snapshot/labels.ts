/**
 * Labels of snapshots: those that containerd and its clients give a meaning, and changes of some of them.
 *
 * Source: containerd 2, core/snapshots/snapshotter.go and pkg/snapshotters/annotations.go; nydus-snapshotter,
 * pkg/label/label.go.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { isDigest } from "../oci/digest.ts";
import type { SnapshotRecord } from "./snapshot_record.ts";

/** Labels by key. */
export type Labels = ReadonlyMap<string, string>;

/** Name under which a layer that is being unpacked will be committed: its chain ID. Absent for a container. */
const TARGET = "containerd.io/snapshot.ref";
/** "true": the layer is data of a nydus image. An annotation of the manifest. */
const NYDUS_BLOB = "containerd.io/snapshot/nydus-blob";
/** Image reference by which a layer is pulled. */
const IMAGE_REFERENCE = "containerd.io/snapshot/cri.image-ref";

/** Target of a layer that is being unpacked; undefined for other snapshots. */
export function targetOf(labels: Labels): string | undefined {
  return labels.get(TARGET) || undefined;
}

/** Whether the layer is data of a nydus image, which no client has to fetch. */
export function isNydusBlob(labels: Labels): boolean {
  return labels.get(NYDUS_BLOB) === "true";
}

/** Image reference by which a layer was pulled, if the client has told it. */
export function referenceOf(labels: Labels): string | undefined {
  return labels.get(IMAGE_REFERENCE) || undefined;
}

/** containerd's names of snapshots in its snapshotters: `NAMESPACE/NUMBER/NAME`. */
const NAMESPACED = /^[^/]+\/[0-9]+\//;

/** The name that containerd's client gave to a snapshot: a chain ID, or the id of a container. */
export function clientName(name: string): string {
  return name.replace(NAMESPACED, "");
}

/**
 * The diffID of a layer without parent, which is its chain ID; undefined if it is not known.
 *
 * @param name under which the layer is committed
 */
export function diffIdOf(name: string, labels: Labels, parent: string): string | undefined {
  if (parent !== "") return undefined;
  const chainId = targetOf(labels) ?? clientName(name);
  return isDigest(chainId) ? chainId : undefined;
}

/**
 * Applies an update.
 *
 * @param fields names of what is updated: "labels" for all, "labels.KEY" for one, which is removed if it has no new
 * value; none: all
 * @throws {NydusGdError} "usage" for any other field
 */
export function updateLabels(before: Labels, update: Labels, fields: readonly string[]): Map<string, string> {
  let labels = new Map(fields.length === 0 ? update : before);
  for (const field of fields) {
    if (field === "labels") {
      labels = new Map(update);
      continue;
    }
    if (!field.startsWith("labels.")) {
      throw new NydusGdError("usage", `Cannot update snapshot: its field ${JSON.stringify(field)} cannot be changed`);
    }
    const key = field.slice("labels.".length);
    const value = update.get(key) ?? "";
    if (value === "") labels.delete(key);
    else labels.set(key, value);
  }
  return labels;
}

/** The labels in a record. */
export function labelsOf({ labels }: Pick<SnapshotRecord, "labels">): Labels {
  return new Map(labels);
}

/** The labels as kept in a record. */
export function recordedLabels(labels: Labels): SnapshotRecord["labels"] {
  return [...labels];
}

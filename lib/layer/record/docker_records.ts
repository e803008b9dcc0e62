/**
 * What dockerd has recorded of layers: the interface of the layer store to dockerd's own files, which
 * lib/image/docker/layers.ts reads.
 *
 * dockerd records a layer after its ApplyDiff has been answered. So the records tell a layer that was made from one that
 * was not, what lost files said, and which layers nobody will ever ask for.
 *
 * @module
 */

/** One layer. */
export interface DockerLayer {
  /** "sha256:…" of its tar; absent for a container's. */
  readonly diffId?: string;
  /** ID of the layer below; absent for the lowest. */
  readonly parent?: string;
}

/** All layers, by ID. */
export interface RecordedLayers {
  /** Layers that images have. */
  readonly ofImages: ReadonlySet<string>;
  /** Layers of containers, and layers that were being removed: they may be gone. */
  readonly others: ReadonlySet<string>;
  /** Last change of the folder of the records (its ctime). */
  readonly since: Date;
}

/** The layer below each layer, by ID. */
export type LayerParents = ReadonlyMap<string, string>;

/** The records of one dockerd. Methods reject if a record cannot be read. */
export interface DockerRecords {
  /** Undefined if there are no records, or none that name a layer. */
  layers(): Promise<RecordedLayers | undefined>;
  /** Undefined if the records do not name the layer. */
  layer(id: string): Promise<DockerLayer | undefined>;
  /** As far as they are certain. */
  parents(): Promise<LayerParents>;
}

/**
 * Destination of a converted image: blobs are stored first, then the documents that refer to them, its name last.
 *
 * @module
 */
import type { Backend } from "../../../backend/blob_source.ts";
import type { ImageBlob } from "../../build/image_builder.ts";
import type { OnBytes } from "../../source/counted.ts";
import type { ImageContent, RepositoryPlace } from "../source/image_content.ts";

/** Digest and size in bytes of a blob to store. */
export interface Put {
  readonly digest: string;
  readonly size: number;
}

/** Stores blobs and documents of one image. */
export interface ImageTarget {
  /** For messages. */
  readonly description: string;
  /** Undefined if it is not a registry. */
  readonly place: RepositoryPlace | undefined;
  /** Stored blobs, for reading back. */
  readonly blobs: Backend;
  /** Returns an unused path for a temporary blob file; its folder exists. */
  spoolPath(): Promise<string>;
  has(blob: Put, signal: AbortSignal): Promise<boolean>;
  /** Mounts the blob from another repository of the same registry; false if that is not possible. */
  mount(blob: Put, from: RepositoryPlace, signal: AbortSignal): Promise<boolean>;
  /** Stores the file and takes it over. */
  putFile(blob: Put, path: string, onBytes: OnBytes, signal: AbortSignal): Promise<void>;
  putBytes(blob: ImageBlob, signal: AbortSignal): Promise<void>;
  /** What the target's name refers to now; undefined for nothing. */
  present(signal: AbortSignal): Promise<ImageContent | undefined>;
  putManifest(manifest: ImageBlob, signal: AbortSignal): Promise<void>;
  /** Stores a manifest that no index lists, so that it is found as a referrer of its subject. */
  putReferrer(manifest: ImageBlob, signal: AbortSignal): Promise<void>;
  /** Stores manifests, then gives `root` the name. Everything that they refer to is stored. */
  publish(manifests: readonly ImageBlob[], root: ImageBlob, signal: AbortSignal): Promise<void>;
  /**
   * Removes what a failed conversion leaves beside the target.
   *
   * @param isInterrupted blobs stay, so that the next conversion finds them
   */
  discard(isInterrupted: boolean): Promise<void>;
}

/**
 * Where a converted image goes: blobs first, then the documents that name them, its name last.
 *
 * @module
 */
import type { Backend } from "../../backend/blob_source.ts";
import type { ImageBlob } from "../image_builder.ts";
import type { ImageContent, RepositoryPlace } from "./image_content.ts";
import type { OnBytes } from "./source_image.ts";

/** What is put: its name and its bytes in number. */
export interface Put {
  readonly digest: string;
  readonly size: number;
}

/** See the module. */
export interface ImageTarget {
  /** For messages. */
  readonly description: string;
  /** Undefined for what is no registry. */
  readonly place: RepositoryPlace | undefined;
  /** What is there, for reading back. */
  readonly blobs: Backend;
  /** A path for a blob on its way, that nothing has yet; its folder is there. */
  spoolPath(): Promise<string>;
  has(blob: Put, signal: AbortSignal): Promise<boolean>;
  /** Takes the blob from another repository of the same registry; false where that is not to be had. */
  mount(blob: Put, from: RepositoryPlace, signal: AbortSignal): Promise<boolean>;
  /** Takes the file over. */
  putFile(blob: Put, path: string, onBytes: OnBytes, signal: AbortSignal): Promise<void>;
  putBytes(blob: ImageBlob, signal: AbortSignal): Promise<void>;
  /** What its name stands for now; undefined for nothing. */
  present(signal: AbortSignal): Promise<ImageContent | undefined>;
  putManifest(manifest: ImageBlob, signal: AbortSignal): Promise<void>;
  /** Puts a manifest that no index lists, so that who looks for what refers to its subject finds it. */
  putReferrer(manifest: ImageBlob, signal: AbortSignal): Promise<void>;
  /** Puts manifests, then gives `root` the name. Everything that they name is there. */
  publish(manifests: readonly ImageBlob[], root: ImageBlob, signal: AbortSignal): Promise<void>;
  /**
   * Removes what a failed conversion leaves beside the target.
   *
   * @param isInterrupted blobs stay, so that the next conversion finds them
   */
  discard(isInterrupted: boolean): Promise<void>;
}

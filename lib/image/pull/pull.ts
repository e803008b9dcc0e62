/**
 * One pull: what was asked for, what it works with, what it reports and results in.
 *
 * @module
 */
import type { RegistryBackend } from "../../backend/registry/registry_backend.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Platform } from "../../oci/platform.ts";
import type { Reference } from "../../oci/reference.ts";
import type { ImageMemory } from "../../rafs/memory/image_memory.ts";
import type { DockerEngine } from "../docker/engine.ts";
import type { PullStep } from "../docker/progress_stream.ts";
import type { PulledImage } from "../lazy/records/pulled_images.ts";
import type { ImageForm } from "../source/image_form.ts";
import type { ResolvedImage } from "../source/resolve_image.ts";
import type { BlobHomes } from "./blobs_left.ts";
import type { SeenLogins } from "./seen_logins.ts";

/** The daemon that will serve the image, as used by `pull`. */
export interface LazyDaemon {
  /**
   * Records where the blobs are of the image whose bootstrap layer has this diffID. Cannot be aborted: it would not be
   * known whether a later {@link drop} finds the record.
   */
  record(diffId: Digest, image: PulledImage): Promise<void>;
  /** Drops the record of an image that did not arrive. If Docker has the image regardless, the record is kept. */
  drop(diffId: Digest): Promise<void>;
  /** Starts to fetch all data of the image. */
  prefetch(diffId: Digest, signal: AbortSignal): Promise<void>;
}

/** Dependencies of a pull. */
export interface PullParts extends BlobHomes {
  readonly registry: RegistryBackend;
  /** The keychain of `registry`. */
  readonly logins: SeenLogins;
  readonly docker: DockerEngine;
  /** Name of our snapshotter in containerd. */
  readonly snapshotter: string;
  readonly daemon: LazyDaemon;
  /** Opens memory for the bootstrap; not called for an ordinary image. */
  readonly openMemory: () => Promise<ImageMemory>;
  /** Receives progress events. */
  readonly onEvent: (event: PullEvent) => void;
}

/** A pull requested by the user. */
export interface PullRequest {
  readonly reference: Reference;
  /** Default: this machine's. */
  readonly platform: Platform | undefined;
  /** Also fetch all data in the background. */
  readonly prefetch: boolean;
}

/** Progress events. Sizes in bytes. */
export type PullEvent =
  | { readonly event: "resolved"; readonly form: ImageForm["kind"]; readonly digest: Digest }
  /** Progress of the bootstrap layer's download. */
  | { readonly event: "bootstrap"; readonly digest: Digest; readonly bytes: number; readonly total: number }
  /** Docker loads the image that was built. */
  | { readonly event: "load"; readonly name: string; readonly bytes: number }
  /** Progress of Docker's own pull. */
  | ({ readonly event: "docker" } & PullStep);

/** The pulled image. Sizes in bytes. */
export interface PullResult {
  /** Name for `docker run`. */
  readonly name: string;
  readonly form: ImageForm["kind"];
  readonly platform: Platform;
  /** Digest of the manifest in the registry. */
  readonly digest: Digest;
  readonly imageId: string;
  /** The image that had the name before, if it was a different one. */
  readonly replaced: string | undefined;
  /** Set for a lazy image that Docker did not pull by itself. */
  readonly lazy: LazyPart | undefined;
}

/** Details of a pulled lazy image. */
export interface LazyPart {
  /** Bytes of the bootstrap layer as downloaded. */
  readonly bootstrapBytes: number;
  /** The backend that has the data. */
  readonly home: string;
  /** Data left for later: bytes of each blob in its backend, by id. */
  readonly blobs: ReadonlyMap<string, number>;
  readonly prefetching: boolean;
}

/** A pull whose image has been resolved. */
export interface Pull {
  readonly request: PullRequest;
  readonly platform: Platform;
  readonly image: ResolvedImage;
  readonly parts: PullParts;
  readonly signal: AbortSignal;
}

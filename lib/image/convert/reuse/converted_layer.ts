/**
 * A layer that a conversion has at its target.
 *
 * @module
 */
import type { Digest } from "../../../oci/digest.ts";
import type { OriginalLayer } from "../source/source_image.ts";

/** A layer that is at the target, or on its way there. */
export interface ConvertedLayer {
  readonly digest: Digest;
  readonly blobId: string;
  readonly blobBytes: number;
  /** The layer's own bootstrap. */
  readonly bootstrap: Uint8Array;
  /** Identifies source and options; undefined for a source without an identity. */
  readonly key: string | undefined;
  /** Whether it was already there. */
  readonly reused: boolean;
  /** The original layer that has its data, if the blob only describes it. */
  readonly refersTo?: OriginalLayer["blob"] | undefined;
  /** Why it was converted although the image was to refer to the original one: "it is zstd, not gzip". */
  readonly unreferable?: string | undefined;
}

/**
 * A layer that a conversion has at its target.
 *
 * @module
 */
import type { Digest } from "../../../oci/digest.ts";

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
}

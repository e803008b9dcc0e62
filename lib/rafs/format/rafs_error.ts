/**
 * The error of everything that reads or writes RAFS.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";

/** Damaged or foreign bytes: `Cannot read RAFS v6 super block at 1024: magic is 0x0badf00d, expected 0xe0f5e1e2`. */
export class RafsError extends NydusGdError {
  override readonly name = "RafsError";
  /** @param code "invalid-image" for damage, "unsupported" for recognized images that are refused */
  constructor(message: string, code: "invalid-image" | "unsupported" = "invalid-image") {
    super(code, message);
  }
}

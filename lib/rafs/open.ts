/**
 * Opens a bootstrap of either version.
 *
 * @module
 */
import type { Bootstrap } from "./bootstrap.ts";
import { detectVersion } from "./format/detect.ts";
import type { OpenOptions } from "./format/unsupported.ts";
import { openV5 } from "./v5/bootstrap.ts";
import { openV6 } from "./v6/bootstrap.ts";

/**
 * Opens a bootstrap after detecting its version from its first bytes.
 *
 * @param bytes the whole bootstrap, usually a mapping; kept, never copied
 * @throws {RafsError} when it is neither version, is damaged or is of an unsupported kind
 */
export function openBootstrap(bytes: Uint8Array, options: OpenOptions = {}): Bootstrap {
  return detectVersion(bytes) === 5 ? openV5(bytes, options) : openV6(bytes, options);
}

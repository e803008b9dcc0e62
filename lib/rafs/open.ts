/**
 * Opens a bootstrap of either version.
 *
 * @module
 */
import type { Bootstrap } from "./bootstrap.ts";
import { detectVersion } from "./detect.ts";
import type { OpenOptions } from "./unsupported.ts";
import { openV5 } from "./v5/bootstrap.ts";
import { openV6 } from "./v6/bootstrap.ts";

/**
 * Opens a bootstrap; the version is read off its first bytes.
 *
 * @param bytes the whole bootstrap, usually a mapping; kept, never copied
 * @throws {RafsError} when it is neither version, damaged, or of a kind that is refused by name
 */
export function openBootstrap(bytes: Uint8Array, options: OpenOptions = {}): Bootstrap {
  return detectVersion(bytes) === 5 ? openV5(bytes, options) : openV6(bytes, options);
}

/**
 * The argument and options by which commands name an image.
 *
 * @module
 */
import { Option } from "@commander-js/extra-typings";

/** Help text of the argument. */
export const IMAGE_HELP =
  "bootstrap file, blob that carries one, layer tar(.gz) that holds one, oci:DIR[:TAG], tar:FILE[:TAG] of a layout, or " +
  "image reference";

/** `--blob-dir`. */
export function blobDirOption(): Option<"--blob-dir <dir>"> {
  return new Option("--blob-dir <dir>", "folder of the data blobs, named by their id").conflicts("config");
}

/** `--config`. */
export function configOption(): Option<"--config <file>"> {
  return new Option("--config <file>", "nydusd's own configuration, which names the backend");
}

/**
 * `docker create --storage-opt`: a limit for what one container may write, which needs quotas of the home's file system.
 *
 * There are none here yet. A limit is refused and never ignored: who asked for it relies on it.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { backingFileSystem } from "./home_probe.ts";

/** "10G", "512m", "1.5GiB", "1048576" (bytes), as Docker reads sizes. */
const SIZE = /^\d+(?:\.\d+)?\s?(?:[kmgtp]i?b?|b)?$/i;

/**
 * Refuses every option there is.
 *
 * @param options values by key; none is fine
 * @param id of the layer that is to be made
 * @throws {NydusGdError} "usage" for what no driver would take, "unsupported" for a limit
 */
export function refuseStorageOptions(options: Readonly<Record<string, string>>, id: string, home: string): void {
  for (const [key, value] of Object.entries(options)) {
    const what = `Cannot create layer ${id}`;
    if (key.toLowerCase() !== "size") {
      throw new NydusGdError("usage", `${what}: storage option "${key}" is unknown`, {
        hint: "leave --storage-opt out",
      });
    }
    if (!SIZE.test(value.trim())) {
      throw new NydusGdError("usage", `${what}: size ${JSON.stringify(value)} is no size`, {
        hint: "a size is a number with a unit, such as 10G",
      });
    }
    const state = `--storage-opt size=${value} needs quotas, and there are none; home is on ${backingFileSystem(home)}`;
    throw new NydusGdError("unsupported", `${what}: ${state}`, {
      hint: "leave --storage-opt out; limit the file system of Docker's data-root instead",
    });
  }
}

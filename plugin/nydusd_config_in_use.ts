/**
 * nydusd's configuration as a daemon follows it: the file of `serve --config`, or the one that Docker names when it
 * initializes the driver.
 *
 * @module
 */
import type { NydusdConfig } from "../lib/backend/nydusd_config.ts";
import { NydusGdError } from "../lib/base/errors.ts";
import { type ConfigPath, readNydusdConfig } from "../lib/image/config_files.ts";

/** See the module. */
export class NydusdConfigInUse {
  #current: NydusdConfig | undefined;

  private constructor(private readonly file: ConfigPath, readonly atStart: NydusdConfig | undefined) {
    this.#current = atStart;
  }

  /** Reads the file of `serve --config`. @throws {NydusGdError} as {@link readNydusdConfig} */
  static async read(file: ConfigPath): Promise<NydusdConfigInUse> {
    return new NydusdConfigInUse(file, await readNydusdConfig(file));
  }

  /** Undefined: there is none. */
  get current(): NydusdConfig | undefined {
    return this.#current;
  }

  /**
   * Goes over to the file at `path`; undefined: the one of `serve --config`, as it is now.
   *
   * @throws {NydusGdError} as {@link readNydusdConfig}; "unsupported": it wants nothing to be kept, and the cache is open
   */
  async use(path: string | undefined): Promise<void> {
    this.#current = await readNydusdConfig(path === undefined ? this.file : { path, explicit: true });
    if (this.#current?.cache.type !== "dummycache" || this.atStart?.cache.type === "dummycache") return;
    const message = "Cannot use configuration: its cache.type is dummycache, and the cache is kept";
    throw new NydusGdError("unsupported", message, { hint: "nydus-gd serve --config FILE" });
  }
}

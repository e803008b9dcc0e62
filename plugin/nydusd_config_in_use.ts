/**
 * The effective nydusd configuration: the file of `serve --config`, or the one that Docker names in a storage option.
 *
 * @module
 */
import type { NydusdConfig } from "../lib/backend/nydusd_config.ts";
import { NydusGdError } from "../lib/base/errors.ts";
import { type ConfigPath, readNydusdConfig } from "../lib/backend/config_files.ts";

/** The nydusd configuration at start, and the one in effect. */
export class NydusdConfigInUse {
  #current: NydusdConfig | undefined;

  private constructor(private readonly file: ConfigPath, readonly atStart: NydusdConfig | undefined) {
    this.#current = atStart;
  }

  /** Reads the file of `serve --config`. @throws {NydusGdError} as {@link readNydusdConfig} */
  static async read(file: ConfigPath): Promise<NydusdConfigInUse> {
    return new NydusdConfigInUse(file, await readNydusdConfig(file));
  }

  /** Undefined: no configuration. */
  get current(): NydusdConfig | undefined {
    return this.#current;
  }

  /**
   * Switches to the file at `path`; undefined: rereads the file of `serve --config`.
   *
   * @throws {NydusGdError} as {@link readNydusdConfig}; "unsupported" if it disables the cache, which is already open
   */
  async use(path: string | undefined): Promise<void> {
    this.#current = await readNydusdConfig(path === undefined ? this.file : { path, explicit: true });
    if (this.#current?.cache.type !== "dummycache" || this.atStart?.cache.type === "dummycache") return;
    const message = "Cannot use configuration: its cache.type is dummycache, and the cache is kept";
    throw new NydusGdError("unsupported", message, { hint: "nydus-gd serve --config FILE" });
  }
}

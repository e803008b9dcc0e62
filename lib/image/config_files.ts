/**
 * The two configuration files, read from disk: ours, and nydusd's.
 *
 * A file at its default place may be missing; one that was named must be there.
 *
 * @module
 */
import { MAX_CONFIG_BYTES, type NydusdConfig, parseNydusdConfig } from "../backend/nydusd_config.ts";
import { NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { parseSettings, type Settings } from "../base/settings.ts";

const log = logger("config");

/** A path, and whether somebody named it. */
export interface ConfigPath {
  readonly path: string;
  readonly explicit: boolean;
}

/** The settings, `NYDUS_GD_*` included. @throws {NydusGdError} "config" by key and line, "not-found" */
export async function readSettings(file: ConfigPath): Promise<Settings> {
  return parseSettings(await readText(file, "settings") ?? "", Deno.env.toObject(), file.path);
}

/** nydusd's configuration, undefined when there is none. What it ignores is logged. @throws as {@link readSettings} */
export async function readNydusdConfig(file: ConfigPath): Promise<NydusdConfig | undefined> {
  const text = await readText(file, "configuration");
  if (text === undefined) return undefined;
  const config = parseNydusdConfig(text);
  for (const warning of config.warnings) log.warn(warning, { file: file.path });
  return config;
}

async function readText({ path, explicit }: ConfigPath, what: string): Promise<string | undefined> {
  try {
    const { size } = await Deno.stat(path);
    if (size <= MAX_CONFIG_BYTES) return await Deno.readTextFile(path);
    throw new NydusGdError("config", `Cannot read ${what} ${path}: ${size} bytes exceed ${MAX_CONFIG_BYTES}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    if (!explicit) return undefined;
    throw new NydusGdError("not-found", `Cannot read ${what} ${path}: there is no such file`, { cause: error });
  }
}

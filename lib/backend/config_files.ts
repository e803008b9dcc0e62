/**
 * Reads the two configuration files: the settings, and nydusd's configuration.
 *
 * A file at its default path may be missing; one named explicitly must exist.
 *
 * @module
 */
import { MAX_CONFIG_BYTES, type NydusdConfig, parseNydusdConfig } from "./nydusd_config.ts";
import { type ErrorDetails, hasCode, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { parseSettings, type Settings } from "../base/settings.ts";
import { checkNydusdKeys } from "./nydusd_keys.ts";

const log = logger("config");

/** A path, and whether it was given explicitly. */
export interface ConfigPath {
  readonly path: string;
  readonly explicit: boolean;
}

/** Options that name the files. */
const OPTION = { settings: "--settings", configuration: "--config" } as const;

/** Reads the settings, including `NYDUS_GD_*`. @throws {NydusGdError} "config", naming key and line; "not-found" */
export async function readSettings(file: ConfigPath): Promise<Settings> {
  const text = await readText(file, "settings") ?? "";
  const environment = Deno.env.toObject();
  return withHint(file, () => parseSettings(text, environment, file.path));
}

/** Reads nydusd's configuration; undefined if absent. Logs what is ignored. @throws as {@link readSettings} */
export async function readNydusdConfig(file: ConfigPath): Promise<NydusdConfig | undefined> {
  const read = await examineNydusdConfig(file);
  for (const warning of read?.warnings ?? []) log.warn(warning, { file: file.path });
  return read?.config;
}

/** Like {@link readNydusdConfig}, but returns the warnings as complete sentences instead of logging them. */
export async function examineNydusdConfig(
  file: ConfigPath,
): Promise<{ readonly config: NydusdConfig; readonly warnings: readonly string[] } | undefined> {
  const text = await readText(file, "configuration");
  if (text === undefined) return undefined;
  return withHint(file, () => {
    const config = parseNydusdConfig(text);
    return { config, warnings: [...config.warnings, ...checkNydusdKeys(config)] };
  });
}

/** Adds the path of the file and a hint where to fix it to errors. */
function withHint<T>({ path }: ConfigPath, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!hasCode(error, "config", "unsupported")) throw error;
    const message = error.message.replace(/^Cannot read configuration: /, `Cannot read configuration ${path}: `);
    throw new NydusGdError(error.code, message, { hint: error.hint ?? `edit ${path}`, cause: error });
  }
}

async function readText(
  { path, explicit }: ConfigPath,
  what: keyof typeof OPTION,
): Promise<string | undefined> {
  const refused = (state: string, details: ErrorDetails = { hint: `${OPTION[what]} FILE` }) =>
    new NydusGdError("config", `Cannot read ${what} ${path}: ${state}`, details);
  try {
    const { size, isFile } = await Deno.stat(path);
    if (!isFile) throw refused("it is not a file");
    if (size > MAX_CONFIG_BYTES) throw refused(`${size} bytes exceed ${MAX_CONFIG_BYTES}`);
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof NydusGdError) throw error;
    const isMissing = error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
    if (isMissing && !explicit) return undefined;
    if (isMissing) {
      throw new NydusGdError("not-found", `Cannot read ${what} ${path}: there is no such file`, {
        hint: `create it, or omit ${OPTION[what]}`,
        cause: error,
      });
    }
    throw refused(messageOf(error), { cause: error });
  }
}

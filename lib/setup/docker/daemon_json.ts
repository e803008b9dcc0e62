/**
 * Reads Docker's daemon.json, determines the required members of it, and rejects settings that conflict with them.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../base/errors.ts";
import type { DockerUnit } from "./docker_flags.ts";
import { type FileState, textOf } from "../file_state.ts";
import { JsonText } from "../json_text.ts";
import type { UnitFlag } from "../unit_flags.ts";

/** Prefix of our storage options. dockerd passes all options to whichever driver it uses. */
const OWN_OPTIONS = /^nydus-gd\./i;

/**
 * Parses the file; one that is missing or blank counts as empty object.
 *
 * @throws {NydusGdError} "config", also for what is not UTF-8: it could not be written again as it was
 */
export function parseDaemonJson(state: FileState, path: string): JsonText {
  const text = state.kind === "file" ? utf8Of(state.bytes, path) : textOf(state);
  return JsonText.parse(/^[ \t\r\n]*$/.test(text) ? "{}\n" : text, path);
}

/** Decodes every byte, a byte order mark as well. @throws {NydusGdError} "config" for what is not UTF-8 */
export function utf8Of(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new NydusGdError("config", `Cannot read ${path}: it is not UTF-8`, {
      hint: `save ${path} as UTF-8`,
      cause: error,
    });
  }
}

/** Required members of daemon.json; undefined: the member must be absent. */
export type WantedMembers = ReadonlyMap<string, unknown>;

/** Value of "features" in which containerd stores the images. */
const CONTAINERD_STORE = v.object({ "containerd-snapshotter": v.literal(true) });

/** Whether the file has containerd store the images. */
export function usesContainerdStore(json: JsonText): boolean {
  return v.is(CONTAINERD_STORE, json.get("features"));
}

/**
 * Members for a graph driver.
 *
 * @param json the current file
 * @param driver name of our storage driver
 * @throws {NydusGdError} "config", "unsupported" for a conflicting setting, with its line
 */
export function wantedMembers(json: JsonText, path: string, { flags }: DockerUnit, driver: string): WantedMembers {
  if (usesContainerdStore(json)) {
    const place = `${path} line ${json.lineOf("features")}`;
    throw refusal(
      "unsupported",
      `${place} has containerd store the images, which uses no graph driver`,
      `--target containerd, or set "containerd-snapshotter" to false in ${path}`,
    );
  }
  const wanted = wantedDriver(flags, driver);
  const { experimental, storageOptions } = flags;
  if (experimental === undefined) wanted.set("experimental", true);
  else if (/^(false|0|f)$/i.test(experimental.value)) {
    throw refusal("config", `${experimental.place} switches experimental features off`, flagHint(experimental));
  }
  if (storageOptions !== undefined && !OWN_OPTIONS.test(storageOptions.value)) {
    const { place, value } = storageOptions;
    throw refusal("config", `${place} has an option of another storage driver (${value})`, flagHint(storageOptions));
  }
  const options = json.get("storage-opts");
  if (options !== undefined) {
    if (!v.is(v.array(v.string()), options)) {
      const state = `storage-opts in ${path} line ${json.lineOf("storage-opts")} is not a list of strings`;
      throw refusal("config", state, `correct ${path}`);
    }
    const own = options.filter((option) => OWN_OPTIONS.test(option));
    wanted.set("storage-opts", own.length === 0 ? undefined : own);
  }
  return wanted;
}

/**
 * Members for a snapshotter of containerd, which dockerd names like a storage driver.
 *
 * @throws {NydusGdError} "config" for a conflicting setting, with its line
 */
export function wantedSnapshotterMembers(
  json: JsonText,
  path: string,
  { flags }: DockerUnit,
  driver: string,
): WantedMembers {
  const wanted = wantedDriver(flags, driver);
  if (flags.features !== undefined) {
    if (/(^|,)containerd-snapshotter(=true)?(,|$)/.test(flags.features.value)) return wanted;
    throw refusal("config", `${flags.features.place} sets features, which ${path} has to`, flagHint(flags.features));
  }
  const features = json.get("features") ?? {};
  if (!v.is(v.record(v.string(), v.boolean()), features)) {
    const state = `features in ${path} line ${json.lineOf("features")} are not names with true or false`;
    throw refusal("config", state, `correct ${path}`);
  }
  wanted.set("features", { ...features, "containerd-snapshotter": true });
  return wanted;
}

function wantedDriver({ storageDriver }: DockerUnit["flags"], driver: string): Map<string, unknown> {
  if (storageDriver === undefined) return new Map([["storage-driver", driver]]);
  if (storageDriver.value === driver) return new Map();
  const { place, value } = storageDriver;
  throw refusal("config", `${place} names the storage driver ${value}`, flagHint(storageDriver));
}

function refusal(code: "config" | "unsupported", state: string, hint: string): NydusGdError {
  return new NydusGdError(code, `Cannot set up Docker: ${state}`, { hint });
}

function flagHint({ place }: UnitFlag): string {
  return `remove it from ${place}`;
}

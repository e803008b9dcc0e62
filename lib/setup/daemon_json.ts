/**
 * Reads Docker's daemon.json, determines the required members of it, and rejects settings that conflict with them.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../base/errors.ts";
import type { DockerFlag, DockerUnit } from "./docker_flags.ts";
import { type FileState, textOf } from "./file_state.ts";
import { JsonText } from "./json_text.ts";

/** Docker's configuration file, unless its unit names another one. */
export const DAEMON_JSON = "/etc/docker/daemon.json";

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

/** Decodes every byte, a byte order mark as well. */
function utf8Of(bytes: Uint8Array, path: string): string {
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

/**
 * @param json the current file
 * @param driver name of our storage driver
 * @throws {NydusGdError} "config", "unsupported" for a conflicting setting, with its line
 */
export function wantedMembers(json: JsonText, path: string, { flags }: DockerUnit, driver: string): WantedMembers {
  const refuse = (code: "config" | "unsupported", state: string, hint: string): never => {
    throw new NydusGdError(code, `Cannot set up Docker: ${state}`, { hint });
  };
  const flagHint = ({ place }: DockerFlag) => `remove it from ${place}`;
  if (v.is(v.object({ "containerd-snapshotter": v.literal(true) }), json.get("features"))) {
    const place = `${path} line ${json.lineOf("features")}`;
    refuse(
      "unsupported",
      `${place} has containerd store the images, which uses no graph driver`,
      `set "containerd-snapshotter" to false in ${path}`,
    );
  }
  const wanted = new Map<string, unknown>();
  const { storageDriver, experimental, storageOptions } = flags;
  if (storageDriver === undefined) wanted.set("storage-driver", driver);
  else if (storageDriver.value !== driver) {
    refuse("config", `${storageDriver.place} names the storage driver ${storageDriver.value}`, flagHint(storageDriver));
  }
  if (experimental === undefined) wanted.set("experimental", true);
  else if (/^(false|0|f)$/i.test(experimental.value)) {
    refuse("config", `${experimental.place} switches experimental features off`, flagHint(experimental));
  }
  if (storageOptions !== undefined && !OWN_OPTIONS.test(storageOptions.value)) {
    const { place, value } = storageOptions;
    refuse("config", `${place} has an option of another storage driver (${value})`, flagHint(storageOptions));
  }
  const options = json.get("storage-opts");
  if (options !== undefined) {
    if (!v.is(v.array(v.string()), options)) {
      return refuse(
        "config",
        `storage-opts in ${path} line ${json.lineOf("storage-opts")} is not a list of strings`,
        `correct ${path}`,
      );
    }
    const own = options.filter((option) => OWN_OPTIONS.test(option));
    wanted.set("storage-opts", own.length === 0 ? undefined : own);
  }
  return wanted;
}

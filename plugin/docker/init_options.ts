/**
 * Options of an Init by dockerd: home, storage options, user namespaces.
 *
 * @module
 */
import { normalize } from "node:path/posix";
import { NydusGdError } from "../../lib/base/errors.ts";
import type { IdMaps, IdRange } from "../../lib/layer/userns/id_maps.ts";
import type { IdMap, InitRequest } from "./protocol.ts";

/** Options of `dockerd --storage-opt nydus-gd.KEY=VALUE`. */
export const STORAGE_OPTIONS = ["fs-driver", "config", "size"] as const;

/** Values by key; absent if not given. */
export type StorageOptions = Partial<Record<typeof STORAGE_OPTIONS[number], string>>;

const PREFIX = "nydus-gd.";
/** Size of an id map that maps every id to itself. */
const ALL_IDS = 0xffff_ffff;

/**
 * Parses the options of an Init.
 *
 * @throws {NydusGdError} "usage" for an invalid home or invalid options
 */
export function readInit(request: InitRequest): { home: string; options: StorageOptions; idMaps: IdMaps } {
  const home = normalize(request.Home).replace(/\/+$/, "");
  if (!home.startsWith("/") || home.includes("\0")) {
    const state = `Home ${JSON.stringify(request.Home)} is not an absolute path of a folder`;
    throw new NydusGdError("usage", `Cannot start graph driver: ${state}`);
  }
  const options: StorageOptions = {};
  for (const option of request.Opts) {
    const [key, value] = split(option);
    options[key] = value;
  }
  const idMaps = { uids: rangesOf(request.UIDMaps), gids: rangesOf(request.GIDMaps) };
  return { home, options, idMaps };
}

function split(option: string): [typeof STORAGE_OPTIONS[number], string] {
  const equals = option.indexOf("=");
  const name = option.slice(0, equals < 0 ? option.length : equals).trim();
  const known = STORAGE_OPTIONS.find((key) => name.toLowerCase() === PREFIX + key);
  if (known !== undefined && equals >= 0) return [known, option.slice(equals + 1).trim()];
  const all = STORAGE_OPTIONS.map((key) => `${PREFIX}${key}=…`).join(", ");
  throw new NydusGdError("usage", `Cannot start graph driver: storage option "${option}" is unknown`, {
    hint: `storage-opts may be ${all}`,
  });
}

/** The id ranges; empty if all ids are the host's. */
function rangesOf(maps: readonly IdMap[]): IdRange[] {
  const isIdentity = (map: IdMap) => map.container_id === 0 && map.host_id === 0 && map.size >= ALL_IDS;
  if (maps.every(isIdentity)) return [];
  return maps.map((map) => ({ containerId: map.container_id, hostId: map.host_id, size: map.size }));
}

/**
 * Checks the two configuration files: whether they are valid, and which of their keys have no effect.
 *
 * @module
 */
import { ignore } from "../base/errors.ts";
import { type Check, failedWith, ok, warn } from "./check.ts";
import type { Installation } from "./installation.ts";

const GROUP = "configuration";

/** Returns one check per file. */
export function configChecks({ options, settingsFile, nydusdFile }: Installation): Check[] {
  return [
    {
      group: GROUP,
      name: "settings",
      async run() {
        if ("error" in settingsFile) return failedWith(settingsFile.error);
        const { path } = options.settings;
        const isThere = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(path)) !== undefined;
        return ok(isThere ? path : `no ${path}: defaults`);
      },
    },
    {
      group: GROUP,
      name: "nydusd's file",
      run() {
        if ("error" in nydusdFile) return failedWith(nydusdFile.error);
        const { path } = options.config;
        if (nydusdFile.value === undefined) return ok(`no ${path}: blobs come from the registry of each image`);
        const { config, warnings } = nydusdFile.value;
        if (warnings.length > 0) return warn(`${path}: ${warnings.join("; ")}`, `remove them from ${path}`);
        return ok(`${path}: version ${config.version}, backend ${config.backend.type}`);
      },
    },
  ];
}

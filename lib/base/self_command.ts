/**
 * Command line that starts this program again: from the source tree, from the launcher's unpacked bundle, or as one
 * binary.
 *
 * @module
 */

/** Same flags as in scripts/launcher/launcher.c. */
const BUNDLE_FLAGS = ["--no-config", "--no-lock", "--no-remote", "--no-npm"];

/** Program and leading arguments; append the arguments of nydus-gd: `[...selfCommand(), "serve", …]`. */
export function selfCommand(): [program: string, ...args: string[]] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = new URL(Deno.mainModule);
  if (main.pathname.endsWith("/main.js")) {
    // The bundle is complete: no configuration, lock file or package in its directory may change its behavior.
    return [Deno.execPath(), "run", "-A", "-q", ...BUNDLE_FLAGS, decodeURIComponent(main.pathname)];
  }
  // The source tree needs deno.lock: without it, Deno looks up package versions on the network.
  return [Deno.execPath(), "run", "-A", "-q", decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname)];
}

/**
 * Program and leading arguments that work even after the unpacked bundle is gone, for units and scripts. The launcher
 * passes the path of its executable in the environment.
 */
export function installedCommand(): [program: string, ...args: string[]] {
  const launcher = Deno.env.get("NYDUS_GD_EXECUTABLE");
  return launcher?.startsWith("/") ? [launcher] : selfCommand();
}

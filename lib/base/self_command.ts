/**
 * How this program starts itself again: from the source tree, from the launcher's unpacked bundle, or as one binary.
 *
 * @module
 */

/** As scripts/launcher/launcher.c starts it. */
const BUNDLE_FLAGS = ["--no-config", "--no-lock", "--no-remote", "--no-npm"];

/** Program and leading arguments; append a nydus-gd command line: `[...selfCommand(), "serve", …]`. */
export function selfCommand(): [program: string, ...args: string[]] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = new URL(Deno.mainModule);
  if (main.pathname.endsWith("/main.js")) {
    // The bundle is whole: no configuration, lock or package around it may change what it does.
    return [Deno.execPath(), "run", "-A", "-q", ...BUNDLE_FLAGS, decodeURIComponent(main.pathname)];
  }
  // In the source tree deno.lock is needed: without it Deno asks the network which versions there are.
  return [Deno.execPath(), "run", "-A", "-q", decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname)];
}

/**
 * Program and leading arguments that start this program also when what is unpacked of it is gone: for units and scripts.
 * The launcher tells where its executable is.
 */
export function installedCommand(): [program: string, ...args: string[]] {
  const launcher = Deno.env.get("NYDUS_GD_EXECUTABLE");
  return launcher?.startsWith("/") ? [launcher] : selfCommand();
}

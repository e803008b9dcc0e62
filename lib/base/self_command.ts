/**
 * How this program starts itself again: from the source tree, from the launcher's unpacked bundle, or as one binary.
 *
 * @module
 */

/** Program and leading arguments; append a nydus-gd command line: `[...selfCommand(), "serve", …]`. */
export function selfCommand(): [program: string, ...args: string[]] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = new URL(Deno.mainModule);
  const script = main.pathname.endsWith("/main.js") ? main : new URL("../../main.ts", import.meta.url);
  return [Deno.execPath(), "run", "-A", "-q", "--no-lock", decodeURIComponent(script.pathname)];
}

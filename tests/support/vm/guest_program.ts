/**
 * nydus-gd as machines run it: a bundle, since each of some hundred modules costs an emulated processor milliseconds.
 *
 * @module
 */
import { bundleProgram } from "../../../scripts/build_binary.ts";

/** As the launcher starts it: nothing around the bundle changes what it does. */
const FLAGS = "--no-config --no-lock --no-remote --no-npm --v8-flags=--expose-gc,--max-semi-space-size=4";

/**
 * Makes the bundle in `dir`, before a machine that is to see it starts.
 *
 * @returns path of an executable, for `NYDUS_GD_TEST_PROGRAM`
 */
export async function bundleForGuest(dir: string): Promise<string> {
  await bundleProgram(dir);
  const path = `${dir}/nydus-gd`;
  await Deno.writeTextFile(path, `#!/bin/sh\nexec '${Deno.execPath()}' run -A -q ${FLAGS} '${dir}/main.js' "$@"\n`);
  await Deno.chmod(path, 0o755);
  return path;
}

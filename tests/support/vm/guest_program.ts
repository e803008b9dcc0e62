/**
 * Bundles of repository code for virtual machines. Without bundling, each of some hundred modules costs an emulated
 * processor milliseconds, in every process and every Worker.
 *
 * ```
 * <folder>/main.js, *_worker.js       the program and its Workers
 *          nydus-gd                   an executable of it, for NYDUS_GD_TEST_PROGRAM
 *          tree_walk.js, …            programs of tests
 *          tests.vm.guest.docker.js   requested modules (test files and programs), named by their paths
 * ```
 * Code that looks for a module beside itself (`workerUrl`) finds it as in a build.
 *
 * @module
 */
import { join } from "node:path";
import { bundleModules, bundleProgram, V8_FLAGS } from "../../../scripts/build_binary.ts";
import { REPOSITORY } from "../repository.ts";

/** Makes a bundle independent of its surroundings. */
export const BUNDLE_OPTIONS = ["--no-config", "--no-lock", "--no-remote", "--no-npm"] as const;

/** Programs that tests start by `programUrl`, in tests/support/mount. */
const TEST_PROGRAMS = ["fs_probe.ts", "tree_walk.ts", "verifying_reader.ts"];

/** Bundles in a folder. The folder must exist before a machine that uses it starts. */
export class GuestBundles {
  private constructor(private readonly dir: string) {}

  /** @param modules paths in the repository */
  static async make(dir: string, modules: Iterable<string> = []): Promise<GuestBundles> {
    const bundles = new GuestBundles(dir);
    await bundleProgram(dir);
    const command = `'${Deno.execPath()}' run -A -q ${[...BUNDLE_OPTIONS, V8_FLAGS].join(" ")} '${dir}/main.js' "$@"`;
    await Deno.writeTextFile(bundles.program, `#!/bin/sh\nexec ${command}\n`);
    await Deno.chmod(bundles.program, 0o755);
    const bundle = (path: string, module: string) => bundleModules(["--output", path, join(REPOSITORY, module)]);
    for (const name of TEST_PROGRAMS) await bundle(join(dir, asScript(name)), join("tests/support/mount", name));
    for (const module of modules) await bundle(bundles.pathOf(module), module);
    return bundles;
  }

  /** Path of the executable. */
  get program(): string {
    return join(this.dir, "nydus-gd");
  }

  /** Path of the bundle of a module. */
  pathOf(module: string): string {
    return join(this.dir, asScript(module.replaceAll("/", ".")));
  }

  /** Environment for tests. */
  get env(): Record<string, string> {
    return { NYDUS_GD_TEST_PROGRAM: this.program, NYDUS_GD_TEST_REPOSITORY: REPOSITORY };
  }
}

function asScript(name: string): string {
  return name.replace(/\.ts$/, ".js");
}

/**
 * Builds `dist/nydus-gd`, one executable, and `dist/nydus-gd_<version>_<arch>.deb`.
 *
 * ```
 * deno run -A scripts/build_binary.ts [--dist DIR] [--no-deb]
 * ```
 * The program is bundled first: `main.js` with its lazily loaded parts, and one file for every `*_worker.ts` of the
 * tree, all in one folder (lib/base/worker.ts relies on that). Then either `deno compile`, where a `denort` can be had
 * (the variable DENORT_BIN, or Deno's download server), or the launcher of scripts/launcher with the runtime that
 * builds. Needs gcc and libc6-dev for the launcher, dpkg-deb for the package.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { ignore } from "../lib/base/errors.ts";
import { VERSION } from "../lib/base/version.ts";
import { buildDeb, installedFolders } from "./build_deb.ts";
import { identify, pack, type PackedFile } from "./pack.ts";

const ROOT = dirname(import.meta.dirname ?? ".");

/** Time limit for finding a denort to download. Most build machines are either online or refuse at once. */
const DENORT_TIMEOUT_MS = 5_000;

/**
 * Options of the runtime, for a program whose commands mostly run for a second:
 *
 * - A resting program collects its garbage by itself, lib/base/trim_memory.ts.
 * - What is young in a thread takes 12 MB at most, not 48.
 * - Functions are compiled with their module, not when first called: so the runtime's cache of compiled code has them all.
 * - The second optimizing compiler starts after thirty times as many calls: most commands end before its code has paid
 *   for its compilation.
 */
export const V8_FLAGS =
  "--v8-flags=--expose-gc,--max-semi-space-size=4,--no-lazy,--invocation-count-for-turbofan=90000";

/** Folders without source code of the program. */
const SKIPPED = new Set(["node_modules", "dist", "tests", "scripts", "docs", "bench"]);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { dist: { type: "string", default: join(ROOT, "dist") }, "no-deb": { type: "boolean", default: false } },
  });
  await Deno.mkdir(values.dist, { recursive: true });
  const work = await Deno.makeTempDir({ dir: values.dist, prefix: ".build-" });
  try {
    const bundleDir = join(work, "bundle");
    await bundleProgram(bundleDir);
    const target = join(values.dist, "nydus-gd");
    const fresh = join(work, "nydus-gd");
    const parts = await partsOf(bundleDir);
    if (await hasDenort()) await compile(bundleDir, parts, fresh);
    else await pack(await buildLauncher(work), parts, fresh);
    await Deno.rename(fresh, target);
    await report(target);
    if (values["no-deb"]) return;
    const folders = installedFolders(await identify(parts));
    const defines = [`-DINSTALLED_DIR="${folders.installed}"`, `-DRUNNING_DIR="${folders.running}"`];
    const launcher = await buildLauncher(work, defines);
    const license = join(ROOT, "LICENSE");
    const completions = await completionScripts();
    await report(await buildDeb({ work, dist: values.dist, launcher, parts, folders, license, completions }));
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/**
 * Bundles modules.
 *
 * Not --minify: it turns `using x = f(); x.use();` into `f().use()`, which never disposes x.
 *
 * @param words additional arguments of `deno bundle`
 */
export async function bundleModules(words: readonly string[]): Promise<void> {
  await run(Deno.execPath(), ["bundle", "--quiet", "--platform", "deno", "--frozen", ...words]);
}

/** Bundles the program and its Workers into one flat folder: `main.js` and the modules it loads. */
export async function bundleProgram(dir: string): Promise<void> {
  await bundleModules(["--code-splitting", "--outdir", dir, join(ROOT, "main.ts")]);
  const seen = new Set<string>();
  for await (const worker of findWorkers(ROOT)) {
    const name = basename(worker, ".ts");
    if (seen.has(name)) throw new Error(`Cannot bundle ${worker}: another Worker has its name`);
    seen.add(name);
    await bundleModules(["--output", join(dir, `${name}.js`), worker]);
  }
}

async function* findWorkers(dir: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(dir)) {
    if (entry.isDirectory && !entry.name.startsWith(".") && !SKIPPED.has(entry.name)) {
      yield* findWorkers(join(dir, entry.name));
    } else if (entry.isFile && entry.name.endsWith("_worker.ts")) yield join(dir, entry.name);
  }
}

/** Compiled by bootstrap.sh, unless that could not get its source. */
const BLAKE3_LIBRARY = join(ROOT, ".tools/lib/libblake3.so");

/** The files to append: runtime, bundle and library, which has to be beside the modules in either form. */
async function partsOf(bundleDir: string): Promise<PackedFile[]> {
  const parts: PackedFile[] = [{ name: "deno", path: Deno.execPath(), mode: 0o755 }];
  await ignore(Deno.errors.NotFound, Deno.copyFile(BLAKE3_LIBRARY, join(bundleDir, basename(BLAKE3_LIBRARY))));
  for await (const { name } of Deno.readDir(bundleDir)) parts.push({ name, path: join(bundleDir, name), mode: 0o644 });
  return parts.sort((a, b) => a.name === "deno" ? -1 : b.name === "deno" ? 1 : a.name < b.name ? -1 : 1);
}

/** Where Debian's shells look for completion scripts. */
const COMPLETIONS = {
  bash: "usr/share/bash-completion/completions/nydus-gd",
  zsh: "usr/share/zsh/vendor-completions/_nydus-gd",
  fish: "usr/share/fish/vendor_completions.d/nydus-gd.fish",
} as const;

/** Completion scripts of all shells, by path. */
async function completionScripts(): Promise<Map<string, string>> {
  const scripts = new Map<string, string>();
  for (const [shell, path] of Object.entries(COMPLETIONS)) {
    const args = ["run", "--allow-all", "--quiet", join(ROOT, "main.ts"), "completion", shell];
    const { success, stdout } = await new Deno.Command(Deno.execPath(), { args, stderr: "inherit" }).output();
    if (!success) throw new Error(`Cannot make completion script for ${shell}`);
    scripts.set(path, new TextDecoder().decode(stdout));
  }
  return scripts;
}

async function hasDenort(): Promise<boolean> {
  if (Deno.env.get("DENORT_BIN") !== undefined) return true;
  const url = `https://dl.deno.land/release/v${Deno.version.deno}/denort-${Deno.build.target}.zip`;
  try {
    return (await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(DENORT_TIMEOUT_MS) })).ok;
  } catch (error) {
    console.error(`no denort to be had (${error instanceof Error ? error.message : error}): using the launcher`);
    return false;
  }
}

async function compile(bundleDir: string, parts: readonly PackedFile[], target: string): Promise<void> {
  const included = parts.filter(({ name }) => name !== "deno" && name !== "main.js").flatMap(({ path }) => [
    "--include",
    path,
  ]);
  await run(Deno.execPath(), [
    ...["compile", "--quiet", "--allow-all", "--no-config", "--no-lock", "--no-check", V8_FLAGS, "--output", target],
    ...included,
    join(bundleDir, "main.js"),
  ]);
}

/** Compiles the static launcher into the folder `work`; returns its path. `defines`: options like `-DNAME="x"`. */
export async function buildLauncher(work: string, defines: readonly string[] = []): Promise<string> {
  const target = join(work, defines.length === 0 ? "launcher" : "installed-launcher");
  const source = join(ROOT, "scripts/launcher/launcher.c");
  const options = ["-std=c11", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-s", `-DV8_FLAGS="${V8_FLAGS}"`];
  await run("gcc", [...options, ...defines, "-o", target, source]);
  return target;
}

async function report(path: string): Promise<void> {
  const { size } = await Deno.stat(path);
  console.error(`${path}: nydus-gd ${VERSION}, ${(size / 2 ** 20).toFixed(1)} MiB`);
}

/** Runs a program; a failure ends the build. */
async function run(program: string, args: string[]): Promise<void> {
  const { success, code } = await new Deno.Command(program, { args, cwd: ROOT, stdin: "null", env: { NO_COLOR: "1" } })
    .spawn().status;
  if (!success) throw new Error(`Cannot build: ${basename(program)} ${args[0]} ended with ${code}`);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}

/**
 * Kernels for virtual machines, built by build_kernel.sh and kept in `.tools`, so that later runs need no network.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { NydusGdError } from "../../../lib/base/errors.ts";
import { isFolder } from "../is_folder.ts";

/**
 * Series of Debian kernels used by tests: 6.1 of Debian 12, and 6.12 of Debian 13, which is also available for Debian
 * 12.
 */
export const KERNEL_SERIES = ["6.1", "6.12"] as const;

/** One of {@link KERNEL_SERIES}. */
export type KernelSeries = (typeof KERNEL_SERIES)[number];

/** A kernel on disk. */
export interface Kernel {
  /** Path of the compressed kernel. */
  readonly image: string;
  /** Folder to be used as /lib/modules. */
  readonly modules: string;
  /** Folder of the modules loaded first, in the order given by its file `order`. */
  readonly bootModules: string;
}

const BUILD = decodeURIComponent(new URL("build_kernel.sh", import.meta.url).pathname);
/** `<repository>/.tools`, which git ignores. */
const TOOLS = decodeURIComponent(new URL("../../../.tools", import.meta.url).pathname);

/** Allows for a download of 230 MB and a compilation on two shared cores. */
const MAKE_TIMEOUT_MS = 20 * 60_000;

/** Why this kernel is not available here; undefined if it is, or can be built. */
export async function kernelMissing(series: KernelSeries): Promise<string | undefined> {
  if (await isFolder(folderOf(series))) return undefined;
  if (Deno.build.arch !== "x86_64") return `machines are x86_64, this one is ${Deno.build.arch}`;
  for (const program of ["apt-cache", "make", "gcc", "modprobe", "busybox"]) {
    if (!await isInstalled(program)) return `${program} is not installed`;
  }
  const { success, said } = await build(["find", series]);
  return success ? undefined : said;
}

/**
 * Returns the kernel, building it if needed.
 *
 * @throws {NydusGdError} "environment" with the last output of what failed
 */
export async function prepareKernel(series: KernelSeries): Promise<Kernel> {
  const folder = folderOf(series);
  if (!await isFolder(folder)) {
    const { success, said } = await build(["make", series, folder]);
    if (!success) throw new NydusGdError("environment", `Cannot make kernel ${series} for a virtual machine: ${said}`);
  }
  return { image: `${folder}/vmlinuz`, modules: `${folder}/lib/modules`, bootModules: `${folder}/boot` };
}

/** Name depends on the build script, so that a changed one uses a new folder. */
function folderOf(series: KernelSeries): string {
  const recipe = createHash("sha256").update(Deno.readFileSync(BUILD)).digest("hex");
  return `${TOOLS}/vm-${series}-${recipe.slice(0, 8)}`;
}

async function build(args: readonly string[]): Promise<{ success: boolean; said: string }> {
  const { success, stderr } = await new Deno.Command("sh", {
    args: [BUILD, ...args],
    stdin: "null",
    stdout: "null",
    signal: AbortSignal.timeout(MAKE_TIMEOUT_MS),
  }).output();
  return { success, said: new TextDecoder().decode(stderr).trim().split("\n").slice(-3).join("; ") };
}

/** Whether the program can be run. */
export async function isInstalled(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, { args: ["--version"], stdin: "null", stdout: "null", stderr: "null" }).output();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

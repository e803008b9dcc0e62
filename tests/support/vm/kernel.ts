/**
 * Kernels for virtual machines, made by build_kernel.sh and kept in `.tools`, so that later runs want no network.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { NydusGdError } from "../../../lib/base/errors.ts";
import { isFolder } from "../is_folder.ts";

/** Series of Debian's kernels that tests use: 6.1 of Debian 12, 6.12 of Debian 13, which Debian 12 has as well. */
export const KERNEL_SERIES = ["6.1", "6.12"] as const;

/** One of {@link KERNEL_SERIES}. */
export type KernelSeries = (typeof KERNEL_SERIES)[number];

/** A kernel on disk. */
export interface Kernel {
  /** Path of the compressed kernel. */
  readonly image: string;
  /** Folder that is /lib/modules to it. */
  readonly modules: string;
  /** Folder of the modules that are loaded first; its file `order` lists them. */
  readonly bootModules: string;
}

const BUILD = decodeURIComponent(new URL("build_kernel.sh", import.meta.url).pathname);
/** `<repository>/.tools`, which git ignores. */
const TOOLS = decodeURIComponent(new URL("../../../.tools", import.meta.url).pathname);

/** A download of 230 MB, and the compiler on two cores that others use, too. */
const MAKE_TIMEOUT_MS = 20 * 60_000;

/** Why this kernel cannot be had here; undefined when it can, or is there already. */
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
 * The kernel; it is made if it is not there.
 *
 * @throws {NydusGdError} "environment" with the last words of what failed
 */
export async function prepareKernel(series: KernelSeries): Promise<Kernel> {
  const folder = folderOf(series);
  if (!await isFolder(folder)) {
    const { success, said } = await build(["make", series, folder]);
    if (!success) throw new NydusGdError("environment", `Cannot make kernel ${series} for a virtual machine: ${said}`);
  }
  return { image: `${folder}/vmlinuz`, modules: `${folder}/lib/modules`, bootModules: `${folder}/boot` };
}

/** Another way of making it is another folder. */
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

/** Whether the program answers at all. */
export async function isInstalled(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, { args: ["--version"], stdin: "null", stdout: "null", stderr: "null" }).output();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Row `convert`: a workload's tree in a directory is converted to RAFS v6 by nydus-image and nydus-gd with their
 * defaults; and the part of an image with one changed layer that is converted again.
 *
 * @module
 */
import { ALONE, CHANGED, pushChanged } from "./changed_image.ts";
import { output, versionOf } from "./programs.ts";
import { costOf, type ProcessCost } from "./process_cost.ts";
import type { Figure } from "./report.ts";
import { type Bench, inTurn, type System, valuesOf } from "./row.ts";
import { workloadRow } from "./workload_row.ts";
import type { WorkloadName, Workloads } from "./workloads.ts";
import { removeIfThere } from "./rafs_images.ts";

const AIM = 1;
const AIM_PEAK_MB = 300;

interface Conversion extends ProcessCost {
  /** Everything written, including metadata. */
  readonly megabytes: number;
}

export const convertRow = workloadRow(
  "convert",
  "a folder to RAFS v6, zstd and lz4: nydus-image, nydus-gd",
  async (bench, workloads, name) => {
    const tree = `${bench.scratch}/tree`;
    await removeIfThere(tree);
    await Deno.mkdir(tree);
    await output("tar", ["--extract", "--numeric-owner", "--file", workloads.tarOf(name), "--directory", tree]);
    const figures: Figure[] = [];
    for (const compressor of ["zstd", "lz4_block"]) {
      figures.push(...await convertFolder(bench, tree, `${name}, ${compressor}`, compressor));
    }
    await Deno.remove(tree, { recursive: true });
    return [...figures, ...await convertLayers(bench, workloads, name)];
  },
);

async function convertFolder(bench: Bench, tree: string, title: string, compressor: string): Promise<Figure[]> {
  const dir = `${bench.scratch}/converted`;
  const measure = async (program: string, words: readonly string[]): Promise<Conversion> => {
    await removeIfThere(dir);
    await Deno.mkdir(dir);
    const cost = await costOf(program, words);
    return { ...cost, megabytes: await bytesBelow(dir) / 1e6 };
  };
  const own = ["convert", "--compressor", compressor, "--work-dir", `${bench.scratch}/convert-work`];
  const systems: System<Conversion>[] = [
    { name: "nydus-gd", measure: () => measure(bench.program, [...own, `dir:${tree}`, `oci:${dir}/image`]) },
  ];
  if (await versionOf("nydus-image") !== undefined) {
    const format = ["--type", "dir-rafs", "--fs-version", "6", "--compressor", compressor];
    const results = ["--bootstrap", `${dir}/boot`, "--blob", `${dir}/blob`];
    const words = ["create", "--log-level", "error", ...format, ...results, tree];
    systems.unshift({ name: "nydus-image", measure: () => measure("nydus-image", words) });
  }
  bench.progress(title);
  const results = await inTurn(bench, systems);
  const aim = { of: "nydus-gd", against: "nydus-image", atMost: AIM };
  return [
    { name: title, unit: "s", values: valuesOf(results, "seconds"), aim },
    { name: `${title}: processor`, unit: "s", values: valuesOf(results, "cpuSeconds") },
    { name: `${title}: written`, unit: "MB", values: valuesOf(results, "megabytes"), aim },
    {
      name: `${title}: most memory`,
      unit: "MB",
      values: valuesOf(results, "peakMegabytes"),
      aim: { of: "nydus-gd", atMost: AIM_PEAK_MB },
    },
  ];
}

/** Converts a whole image, the same with an additional layer, and that layer alone. */
async function convertLayers(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  await pushChanged(workloads, name);
  const dir = `${bench.scratch}/layers`;
  const convert = (tag: string) =>
    costOf(bench.program, [
      ...["convert", `${workloads.registry.host}/bench/${name}:${tag}`, `oci:${dir}/image:${tag}`],
      ...["--work-dir", `${dir}/work`],
    ]);
  const anew = async (tag: string) => {
    await removeIfThere(dir);
    await Deno.mkdir(dir);
    return await convert(tag);
  };
  const systems: System<ProcessCost>[] = [
    { name: "all layers", measure: () => anew("latest") },
    { name: "one more layer", measure: () => convert(CHANGED) },
    { name: "that layer alone", measure: () => anew(ALONE) },
  ];
  bench.progress(`${name}, layer by layer`);
  const results = await inTurn(bench, systems);
  await removeIfThere(dir);
  return [
    { name: `${name}, layers`, unit: "s", values: valuesOf(results, "seconds") },
    { name: `${name}, layers: processor`, unit: "s", values: valuesOf(results, "cpuSeconds") },
    { name: `${name}, layers: most memory`, unit: "MB", values: valuesOf(results, "peakMegabytes") },
  ];
}

async function bytesBelow(dir: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    bytes += isDirectory ? await bytesBelow(`${dir}/${name}`) : (await Deno.stat(`${dir}/${name}`)).size;
  }
  return bytes;
}

/**
 * Row `memory`: resident memory of an idle `nydus-gd serve` with no, one and many lazy images whose containers run.
 *
 * The images are all different, Debian plus a distinguishing file, so that they share neither blobs nor bootstraps.
 *
 * @module
 */
import { encodeTarHeader } from "../../lib/archive/tar_writer.ts";
import { tarEntry } from "../../lib/archive/tar.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import { DockerDaemon } from "../../lib/demo/docker_daemon.ts";
import { DRIVER_NAME, SandboxedServe } from "../../lib/demo/graph_driver.ts";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import { PREFETCH } from "./cold_start.ts";
import { buildOwn, push, removeIfThere } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, inTurn, type Row } from "./row.ts";
import { exists, Workloads } from "./workloads.ts";

const AIM_IDLE_MB = 100;
/** With up to fifty images. */
const AIM_MANY_MB = 120;
const AIM_GROWTH_MB = 2;
/** Time after which an idle daemon has ended threads that it does not need and returned memory. */
const SETTLE_MS = 45_000;
const COMMAND = ["sleep", "infinity"];
const UNIT_BYTES = 1e6;

export const memoryRow: Row = {
  name: "memory",
  about: "RSS of serve at rest: without lazy images, with one, with many",
  async run(bench: Bench): Promise<Figure[]> {
    await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: [] });
    const repositories: string[] = [];
    for (let index = 0; index < bench.images; index++) repositories.push(await variant(bench, workloads, index));
    const references = repositories.map((repository) => `${workloads.registry.host}/${repository}:latest`);
    const systems = [0, 1, bench.images].map((count) => ({
      name: `${count} images`,
      measure: () => memoryWith(bench, references.slice(0, count)),
    }));
    const values = Object.fromEntries(await inTurn(bench, systems));
    const [none = "", one = "", many = ""] = systems.map(({ name }) => name);
    const growth = (values[many] ?? []).map((after, run) => (after - (values[one]?.[run] ?? NaN)) / (bench.images - 1));
    return [
      { name: "RSS", unit: "MB", values, aim: { of: none, atMost: AIM_IDLE_MB } },
      {
        name: `RSS with ${many}`,
        unit: "MB",
        values: { [many]: values[many] ?? [] },
        aim: { of: many, atMost: AIM_MANY_MB },
      },
      {
        name: "RSS of one more image",
        unit: "MB",
        values: { [many]: growth },
        aim: { of: many, atMost: AIM_GROWTH_MB },
      },
    ];
  },
};

/** Makes a repository with a distinct image. */
async function variant(bench: Bench, workloads: Workloads, index: number): Promise<string> {
  const repository = `bench/idle-${index}`;
  const made = `${workloads.dir}/idle-${index}.made`;
  if (await exists(made)) return repository;
  bench.progress(`building lazy image ${index + 1} of ${bench.images}`);
  const dir = `${bench.scratch}/variant`;
  await removeIfThere(dir);
  await Deno.mkdir(`${dir}/blobs`, { recursive: true });
  const text = new TextEncoder().encode(String(index).padEnd(512));
  const name = new TextEncoder().encode("variant");
  const first = [encodeTarHeader(tarEntry({ type: "file", name, mode: 0o644, sizeBytes: text.length })), text];
  await buildOwn(() => Deno.open(workloads.base), dir, first);
  await push(workloads.registry.host, repository, dir, COMMAND);
  await Deno.remove(dir, { recursive: true });
  await Deno.writeTextFile(made, "");
  return repository;
}

/** Runs a container of each image; returns the memory of `serve` and its children, in MB. */
async function memoryWith({ scratch, program }: Bench, references: readonly string[]): Promise<number> {
  const dir = `${scratch}/memory`;
  await Deno.mkdir(dir);
  try {
    await using sandbox = await Sandbox.start();
    await using driver = await SandboxedServe.start({ sandbox, dir, program, env: PREFETCH.off });
    await using daemon = await DockerDaemon.start({ sandbox, dir, storageDriver: DRIVER_NAME });
    for (const reference of references) {
      await daemon.must(["pull", "--quiet", reference]);
      await daemon.must(["run", "--detach", "--network=none", reference]);
    }
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    return await residentBytes(driver.pid) / UNIT_BYTES;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Returns the resident memory of a process and its descendants. */
async function residentBytes(pid: number): Promise<number> {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(await Deno.readTextFile(`/proc/${pid}/status`))?.[1];
  if (kib === undefined) throw new NydusGdError("internal", `Cannot measure memory: process ${pid} has ended`);
  let bytes = Number(kib) * 1024;
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    const children = await Deno.readTextFile(`/proc/${pid}/task/${name}/children`);
    for (const child of children.trim().split(" ").filter((each) => each !== "")) {
      bytes += await residentBytes(Number(child));
    }
  }
  return bytes;
}

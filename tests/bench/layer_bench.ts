/**
 * Measures the time until a layer is unpacked and on disk: `docker import` and sync, with overlay2 and with this
 * driver, in turn on one file system, compared with `tar -x` and sync; then `docker save` of the same image.
 *
 * `deno run -A tests/bench/layer_bench.ts [--runs N] [--megabytes N] [--shapes big,small,tiny]`, as root. Prints a
 * table of medians and, as its last line, JSON with kernel and versions. Requires dockerd.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { O, open } from "../../ffi/fcntl.ts";
import { writeAll } from "../../ffi/unistd.ts";
import { tarEntry } from "../../lib/archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../lib/archive/tar_writer.ts";
import { DockerDaemon } from "../../lib/demo/docker_daemon.ts";
import { DRIVER_NAME, SandboxedServe } from "../../lib/demo/graph_driver.ts";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import { TempDir } from "../support/temp_dir.ts";
import { median } from "./report.ts";

/** Files of a layer: sizes in bytes, 100 files per directory. */
interface Shape {
  readonly title: string;
  sizes(totalBytes: number): Iterable<number>;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  big: { title: "files of 100 MB", sizes: (total) => Array<number>(Math.ceil(total / 1e8)).fill(1e8) },
  small: { title: "files of 100 B to 200 KB, as a distribution has", sizes: distributionSizes },
  tiny: { title: "50,000 files of 1 KB", sizes: () => Array<number>(50_000).fill(1000) },
};

/** Sizes distributed evenly on a logarithmic scale. */
function* distributionSizes(totalBytes: number): Iterable<number> {
  for (let sum = 0, i = 0; sum < totalBytes; i++) {
    const size = Math.round(100 * 2000 ** ((i * 0.618_034) % 1));
    sum += size;
    yield size;
  }
}

/** Layers and their measured times in milliseconds, by shape. */
export interface LayerFigures {
  readonly title: string;
  readonly bytes: number;
  /** By system: "overlay2", "nydus-gd", "tar -x". */
  readonly unpackMs: Readonly<Record<string, number[]>>;
  /** By system: "overlay2", "nydus-gd". */
  readonly saveMs: Readonly<Record<string, number[]>>;
}

/** Options of {@link measureLayers}. */
export interface LayerBenchOptions {
  readonly runs: number;
  readonly megabytes: number;
  /** Keys of the shapes: big, small, tiny. */
  readonly shapes: readonly string[];
}

/** Measures each shape `runs` times, the systems in turn. */
async function measureLayers({ runs, megabytes, shapes }: LayerBenchOptions): Promise<LayerFigures[]> {
  using temp = TempDir.make();
  await using sandbox = await Sandbox.start();
  await using driver = await startDriver(sandbox, temp.join("g"));
  void driver; // serves until disposed
  const start = async (name: string, storageDriver: string) => {
    await Deno.mkdir(temp.join(name));
    return await DockerDaemon.start({ sandbox, dir: temp.join(name), storageDriver });
  };
  await using overlay2 = await start("o", "overlay2");
  await using own = await start("n", DRIVER_NAME);
  const figures: LayerFigures[] = [];
  for (const name of shapes) {
    const shape = SHAPES[name];
    if (shape === undefined) throw new Error(`Cannot measure shape ${name}: not one of ${Object.keys(SHAPES)}`);
    const tar = temp.join(`${name}.tar`);
    const bytes = writeTar(tar, shape.sizes(megabytes * 1e6));
    const figure = { title: shape.title, bytes, unpackMs: emptySystems(), saveMs: emptySystems() };
    for (let run = 0; run < runs; run++) {
      for (const [system, daemon] of [["overlay2", overlay2], ["nydus-gd", own]] as const) {
        await sync(temp.path);
        const unpackMs = await timed(async () => {
          await daemon.must(["import", tar, "measured"]);
          await sync(temp.path);
        });
        add(figure.unpackMs, system, unpackMs);
        const saved = temp.join("saved.tar");
        add(figure.saveMs, system, await timed(() => daemon.must(["save", "--output", saved, "measured"])));
        await daemon.must(["rmi", "measured"]);
        await Deno.remove(saved);
      }
      await Deno.mkdir(temp.join("tree"));
      await sync(temp.path);
      const tarMs = await timed(async () => {
        await command("tar", ["--numeric-owner", "-xf", tar, "-C", temp.join("tree")]);
        await sync(temp.path);
      });
      add(figure.unpackMs, "tar -x", tarMs);
      await Deno.remove(temp.join("tree"), { recursive: true });
    }
    await Deno.remove(tar);
    figures.push(figure);
  }
  return figures;
}

async function startDriver(sandbox: Sandbox, dir: string): Promise<SandboxedServe> {
  await Deno.mkdir(dir);
  return await SandboxedServe.start({ sandbox, dir });
}

function emptySystems(): Record<string, number[]> {
  return {};
}

function add(bySystem: Record<string, number[]>, system: string, value: number): void {
  (bySystem[system] ??= []).push(value);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function command(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stdout: "null", stderr: "piped" }).output();
  if (!success) throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
}

/** Calls syncfs(2) on the file system of `path`. */
async function sync(path: string): Promise<void> {
  await command("sync", ["--file-system", path]);
}

/** Writes files of random bytes. @returns size of the tar in bytes */
function writeTar(path: string, sizes: Iterable<number>): number {
  using file = open(path, O.WRONLY | O.CREAT | O.EXCL);
  const encode = (text: string) => new TextEncoder().encode(text);
  const random = new Uint8Array(1 << 20);
  for (let at = 0; at < random.length; at += 65536) crypto.getRandomValues(random.subarray(at, at + 65536));
  let written = 0;
  const write = (bytes: Uint8Array) => {
    writeAll(file, bytes);
    written += bytes.length;
  };
  let index = 0;
  for (const sizeBytes of sizes) {
    const folder = `d/${Math.floor(index / 100)}`;
    if (index % 100 === 0) write(encodeTarHeader(tarEntry({ type: "directory", name: encode(folder) })));
    write(encodeTarHeader(tarEntry({ type: "file", name: encode(`${folder}/${index++}`), sizeBytes })));
    for (let at = 0; at < sizeBytes; at += random.length) {
      write(random.subarray(0, Math.min(random.length, sizeBytes - at)));
    }
    write(tarPadding(sizeBytes));
  }
  write(TAR_END);
  return written;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "5" },
      megabytes: { type: "string", default: "500" },
      shapes: { type: "string", default: Object.keys(SHAPES).join(",") },
    },
  });
  const options = { runs: Number(values.runs), megabytes: Number(values.megabytes), shapes: values.shapes.split(",") };
  const figures = await measureLayers(options);
  for (const { title, bytes, unpackMs, saveMs } of figures) {
    console.log(`${title}, ${(bytes / 1e6).toFixed(0)} MB`);
    for (const [what, systems] of [["unpacked and synced", unpackMs], ["saved", saveMs]] as const) {
      const cells = Object.entries(systems).map(([system, times]) =>
        `${system} ${(median(times) / 1000).toFixed(2)} s`
      );
      console.log(`  ${what.padEnd(20)} ${cells.join("   ")}`);
    }
  }
  console.log(JSON.stringify({ kernel: Deno.osRelease(), deno: Deno.version.deno, ...options, figures }));
}

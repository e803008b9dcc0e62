/**
 * What a FUSE session reaches when all data are in the cache: lookups, opens, sequential and random reads, cold (page
 * cache of the mount dropped) and warm, by number of Workers.
 *
 * `deno run -A tests/bench/fuse_bench.ts [--runs N] [--workers 1,2] [--clients N] [--open-requests]`, as root. Prints a table and, as its last
 * line, JSON with kernel and versions.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { O, open } from "../../ffi/fcntl.ts";
import { libfuseVersion } from "../../ffi/libfuse3.ts";
import { Mapping } from "../../ffi/sys_mman.ts";
import { pwriteAll } from "../../ffi/unistd.ts";
import { FuseSession } from "../../lib/mount/fuse/session.ts";
import { chunkColumnsFromRecords } from "../../lib/rafs/chunk_records.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { makeSyntheticImage } from "../support/synthetic_image.ts";
import { TempDir } from "../support/temp_dir.ts";

const SMALL_FILES = 10_000;
const BIG_SIZE = 256 << 20;
const CHUNK_SIZE = 1 << 20;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    workers: { type: "string", default: "1,2" },
    clients: { type: "string", default: "1" },
    "open-requests": { type: "boolean", default: false },
  },
});
const runs = Number(values.runs);
const clients = Number(values.clients);

interface Case {
  readonly name: string;
  readonly workload: string;
  readonly count: number;
  readonly readSize: number;
  readonly cold: boolean;
  readonly unit: string;
}

const CASES: readonly Case[] = [
  { name: "lookup", workload: "stat", count: SMALL_FILES, readSize: 4096, cold: true, unit: "/s" },
  { name: "stat cached", workload: "stat", count: SMALL_FILES, readSize: 4096, cold: false, unit: "/s" },
  { name: "open+read+close", workload: "open", count: SMALL_FILES, readSize: 4096, cold: true, unit: "/s" },
  { name: "open+read+close cached", workload: "open", count: SMALL_FILES, readSize: 4096, cold: false, unit: "/s" },
  { name: "sequential 128K", workload: "sequential", count: 1, readSize: 131072, cold: true, unit: "B/s" },
  { name: "sequential 1M", workload: "sequential", count: 1, readSize: 1 << 20, cold: true, unit: "B/s" },
  { name: "sequential cached", workload: "sequential", count: 1, readSize: 131072, cold: false, unit: "B/s" },
  { name: "random 4K", workload: "random", count: 20_000, readSize: 4096, cold: true, unit: "/s" },
  { name: "random 4K cached", workload: "random", count: 20_000, readSize: 4096, cold: false, unit: "/s" },
];

async function client(test: Case, directory: string, index: number): Promise<number> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--no-check", new URL("fuse_client.ts", import.meta.url).href]
      .concat(test.workload, directory, String(test.count), String(test.readSize), String(index), String(clients)),
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return (JSON.parse(new TextDecoder().decode(stdout)) as { perSecond: number }).perSecond;
}

/** Drops dentries, inodes and pages: of the mount, and of the cache file too unless it is read again. */
async function dropCaches(dataFile: string): Promise<void> {
  await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
  using file = await Deno.open(dataFile);
  const buffer = new Uint8Array(1 << 20);
  while (await file.read(buffer) !== null);
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}

async function main(): Promise<void> {
  using temp = TempDir.make();
  Deno.mkdirSync(temp.join("mnt"));
  const small = Object.fromEntries(
    Array.from({ length: SMALL_FILES }, (_, i) => [`f${String(i).padStart(6, "0")}`, 4096]),
  );
  const { bootstrap, blobSize, blobId } = makeSyntheticImage({ big: BIG_SIZE, small }, CHUNK_SIZE);
  await Deno.writeFile(temp.join("boot"), bootstrap);
  using bootFile = open(temp.join("boot"), O.RDONLY);
  using mapping = Mapping.ofFile(bootFile, bootstrap.length);
  const tree = openBootstrap(mapping.bytes);
  const [descriptor] = tree.blobs;
  if (descriptor === undefined) throw new Error("Cannot run benchmark: image has no blob");
  const chunks = chunkColumnsFromRecords(descriptor, tree.chunkRecords());
  using data = open(temp.join("data"), O.RDWR | O.CREAT);
  const pattern = crypto.getRandomValues(new Uint8Array(65536));
  for (let at = 0; at < blobSize; at += pattern.length) pwriteAll(data, pattern, at);
  const ready = new Uint8Array(new SharedArrayBuffer(Math.ceil(chunks.count / 8))).fill(0xff);
  const opened = { dataFd: data.raw, chunks, ready };
  const store = { id: blobId, open: () => Promise.resolve(opened), ensure: () => Promise.resolve() };
  const image = { name: "bench", bootstrap: mapping, tree, blobs: [store] };
  const results: unknown[] = [];
  for (const workers of values.workers.split(",").map(Number)) {
    await using session = await FuseSession.start({
      deadlineMs: 60_000,
      mountpoint: temp.join("mnt"),
      stateDir: temp.path,
      workers,
      openRequests: values["open-requests"],
    });
    await using mount = await session.add(image, 1);
    for (const test of CASES) {
      const samples: number[] = [];
      for (let run = 0; run < runs; run++) {
        if (test.cold) await dropCaches(temp.join("data"));
        const all = () => Promise.all(Array.from({ length: clients }, (_, index) => client(test, mount.path, index)));
        if (!test.cold && run === 0) await all();
        const each = await all();
        samples.push(each.reduce((sum, value) => sum + value, 0));
      }
      samples.sort((a, b) => a - b);
      const median = quantile(samples, 0.5);
      const worst = quantile(samples, 0.05);
      results.push({ workers, clients, ...test, median, p5: worst });
      const show = (value: number) =>
        test.unit === "B/s" ? `${(value / 1e6).toFixed(0)} MB/s` : `${value.toFixed(0)}/s`;
      console.log(
        `${workers} workers, ${clients} clients  ${test.name.padEnd(24)} ${show(median).padStart(12)}  p5 ${
          show(worst)
        }`,
      );
    }
  }
  console.log(
    JSON.stringify({ kernel: Deno.osRelease(), deno: Deno.version.deno, libfuse: libfuseVersion(), results }),
  );
}

await main();

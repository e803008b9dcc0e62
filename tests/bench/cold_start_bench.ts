/**
 * Measures how long a program in an image takes to be ready while the image is still in its registry, and what is
 * fetched for it.
 *
 * `deno run -A tests/bench/cold_start_bench.ts [--dir DIR] [--links 3,12,0] [--workloads python,gcc,cat] [--runs N]
 * [--chunk KIB] [--batch KIB] [--delay MS] [--read-ahead KIB] [--optimize] [--prefetch] [--learned] [--trace]`, as
 * root, preferably in a mount namespace of its own. Links are in MB/s, 0 is unlimited. Without read-ahead, the data
 * fetched depend on the image alone. Images are made in DIR from Debian packages of this release and kept. Prints a
 * table and, as its last line, JSON.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { MNT, mount, MS, umount2 } from "../../ffi/sys_mount.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { openRegistry } from "../../lib/backend/open_backend.ts";
import { ANONYMOUS } from "../../lib/backend/registry/keychain.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { writeUserland } from "../../lib/demo/debian_userland.ts";
import { ImagePrefetch } from "../../lib/image/prefetch/image_prefetch.ts";
import { LearnedReads } from "../../lib/image/prefetch/learned_reads.ts";
import { MappedBootstrap } from "../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../lib/image/open_image.ts";
import { convertToFolder } from "../../lib/image/convert/convert_tree.ts";
import { fromTar } from "../../lib/image/convert/layer/build_layer.ts";
import { ReadRecorder } from "../../lib/image/prefetch/read_recorder.ts";
import { FuseSession } from "../../lib/mount/fuse/session.ts";
import { OciLayout } from "../../lib/image/source/oci_layout.ts";
import type { LinkRequest } from "./cold_start_link.ts";
import { output } from "./programs.ts";
import { median } from "./report.ts";
import { exists } from "./workloads.ts";

const { values } = parseArgs({
  options: {
    dir: { type: "string", default: "/tmp/cold-start" },
    links: { type: "string", default: "3,12,0" },
    workloads: { type: "string", default: "python,gcc,cat" },
    runs: { type: "string", default: "3" },
    chunk: { type: "string", default: "1024" },
    batch: { type: "string", default: "0" },
    delay: { type: "string", default: "20" },
    "read-ahead": { type: "string", default: "1024" },
    /** Give each workload its own image, made by `convert --optimize-run`. */
    optimize: { type: "boolean", default: false },
    prefetch: { type: "boolean", default: false },
    /** Precede the measured runs by one whose on-demand reads are prefetched first in these. */
    learned: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
  },
});

const PACKAGES = ["python3", "gcc", "libc6-dev", "git"];
const PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/** Commands run in the container, by name; a command is ready when it has ended. */
const WORKLOADS: Readonly<Record<string, readonly string[]>> = {
  perl: ["perl", "-e", "use POSIX; print 1"],
  python: ["python3", "-c", "import json, ssl, asyncio, http.client, email, sqlite3, decimal, xml.dom.minidom"],
  gcc: [
    "sh",
    "-c",
    'printf "#include <stdio.h>\\nint main(){return 0;}" >/tmp/a.c && gcc -o /tmp/a /tmp/a.c && /tmp/a',
  ],
  git: ["sh", "-c", "mkdir -p /tmp/r && cd /tmp/r && git init -q && git status"],
  cat: ["sh", "-c", "cat /usr/lib/gcc/x86_64-linux-gnu/12/cc1 /usr/lib/gcc/x86_64-linux-gnu/12/lto1 >/dev/null"],
};

interface Run {
  readonly readyMs: number;
  readonly bytes: number;
  readonly requests: number;
  readonly asked: number;
}

interface Built {
  readonly bootstrap: string;
  readonly blobs: string;
}

async function buildOnce(dir: string, chunkKib: number, batchKib: number): Promise<Built> {
  const base = `${dir}/${chunkKib}k-${batchKib}k`;
  const built = { bootstrap: `${base}/image.boot`, blobs: `${base}/blobs` };
  if (await exists(built.bootstrap)) return built;
  await Deno.mkdir(built.blobs, { recursive: true });
  await writeUserland(`${base}/userland.tar`, base, PACKAGES);
  const made = await (async () => {
    using tar = await Deno.open(`${base}/userland.tar`);
    return await convertToFolder(fromTar(tar.readable), built.blobs, {
      chunkSize: chunkKib * 1024,
      batchSize: batchKib * 1024,
    });
  })();
  await Deno.remove(`${base}/userland.tar`);
  await Deno.writeFile(built.bootstrap, made.bootstrap);
  return built;
}

/** Like {@link buildOnce}, from the same tree, but optimized for a workload. */
async function buildOptimized(name: string, dir: string, chunkKib: number, batchKib: number): Promise<Built> {
  const base = `${dir}/${chunkKib}k-${batchKib}k-${name}`;
  const built = { bootstrap: `${base}/image/image.boot`, blobs: `${base}/oci/blobs/sha256` };
  if (await exists(built.bootstrap)) return built;
  await Deno.mkdir(`${base}/image`, { recursive: true });
  const tar = `${base}/userland.tar`;
  await writeUserland(tar, base, PACKAGES);
  const words = (WORKLOADS[name] ?? []).map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  const sizes = ["--chunk-size", `${chunkKib}KiB`, "--batch-size", `${batchKib}KiB`, "--work-dir", `${base}/work`];
  const main = decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname);
  const convert = ["convert", ...sizes, "--optimize-run", words, `tar:${tar}`, `oci:${base}/oci`];
  await output(Deno.execPath(), ["run", "--allow-all", "--no-check", main, ...convert]);
  await Deno.remove(tar);
  const layout = await OciLayout.open(`oci:${base}/oci`);
  for (const index of await layout.named()) {
    const { manifests } = JSON.parse(await Deno.readTextFile(`${built.blobs}/${index.digest.slice(7)}`));
    const { layers } = JSON.parse(await Deno.readTextFile(`${built.blobs}/${manifests[0].digest.slice(7)}`));
    await output("tar", ["-xzf", `${built.blobs}/${layers[0].digest.slice(7)}`, "-C", base, "image/image.boot"]);
  }
  return built;
}

/** The link; ends on disposal. */
class Link implements AsyncDisposable {
  private constructor(private readonly child: Deno.ChildProcess, readonly host: string) {}

  static async start(folder: string, megabytesPerSecond: number, delayMs: number): Promise<Link> {
    const script = new URL("cold_start_link.ts", import.meta.url).href;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--no-lock", script, folder, String(megabytesPerSecond * 1e6), String(delayMs)],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return new Link(child, `127.0.0.1:${new TextDecoder().decode(value).trim()}`);
  }

  async log(): Promise<LinkRequest[]> {
    return await (await fetch(`http://${this.host}/_log`)).json();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await this.child.status;
  }
}

async function run(
  built: Built,
  link: Link,
  workload: readonly string[],
  dir: string,
  learned: LearnedReads | undefined,
): Promise<Run> {
  for (const each of ["cache", "state", "image", "upper", "work", "root"]) {
    await Deno.mkdir(`${dir}/${each}`, { recursive: true });
  }
  await using cleanup = new AsyncDisposableStack();
  const http = cleanup.use(new HttpClient(DEFAULT_FETCH_OPTIONS));
  const backend = openRegistry({ host: link.host, repo: "app", scheme: "http" }, {
    http,
    keychain: ANONYMOUS,
  });
  const cache = cleanup.use(BlobCache.open(`${dir}/cache`, { readAheadBytes: Number(values["read-ahead"]) * 1024 }));
  let asked = 0;
  const whenQuiet = (quietMs: number, signal: AbortSignal) => cache.whenQuiet(quietMs, signal);
  const recorder = learned && new ReadRecorder(built.bootstrap, { learned, whenQuiet });
  const image = cleanup.use(
    OpenImage.open({ name: "image", bootstrap: MappedBootstrap.open(built.bootstrap), backend, cache, recorder }),
  );
  const stores = image.blobs.map((blob) => ({
    id: blob.id,
    open: (signal?: AbortSignal) => blob.open(signal),
    ensure: (...[offset, length, ...rest]: Parameters<typeof blob.ensure>) => {
      asked += length;
      return blob.ensure(offset, length, ...rest);
    },
    seal: (chunkIndexes: Iterable<number>) => blob.seal(chunkIndexes),
    copiesName: () => blob.copiesName(),
    onStored: (listener: () => void) => blob.onStored(listener),
  }));
  cleanup.use(
    await FuseSession.start({
      mountpoint: `${dir}/image`,
      stateDir: `${dir}/state`,
      workers: 2,
      deadlineMs: 60_000,
      single: { image: { name: "image", bootstrap: image.bootstrap, tree: image.tree, blobs: stores }, number: 1 },
    }),
  );
  mount("overlay", `${dir}/root`, "overlay", 0, `lowerdir=${dir}/image,upperdir=${dir}/upper,workdir=${dir}/work`);
  cleanup.defer(() => umount2(`${dir}/root`, MNT.DETACH));
  mount("/dev", `${dir}/root/dev`, null, MS.BIND);
  await link.log();
  const startedAt = performance.now();
  cache.expectReaders();
  const scope = values.prefetch ? "all" : "listed";
  const prefetch = values.prefetch || values.learned
    ? ImagePrefetch.start(image, { scope, whenQuiet, hasRoom: () => true, learnedUrgency: "read-ahead" })
    : undefined;
  recorder?.begin();
  const { code, stderr } = await new Deno.Command("chroot", {
    args: [`${dir}/root`, "env", "-i", PATH, ...workload],
    stdout: "null",
    stderr: "piped",
  }).output();
  const readyMs = performance.now() - startedAt;
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  const log = await link.log();
  await prefetch?.stop();
  if (values.trace) {
    for (const each of log) {
      console.log(
        each.startMs.toFixed(0).padStart(7),
        (each.endMs - each.startMs).toFixed(0).padStart(6),
        String(each.offset).padStart(11),
        String(each.length).padStart(9),
        each.sent < each.length ? `cut at ${each.sent}` : "",
      );
    }
  }
  return { readyMs, bytes: log.reduce((sum, { sent }) => sum + sent, 0), requests: log.length, asked };
}

const results = [];
for (const megabytes of values.links.split(",").map(Number)) {
  for (const name of values.workloads.split(",")) {
    const [chunk, batch] = [Number(values.chunk), Number(values.batch)];
    const built =
      await (values.optimize ? buildOptimized(name, values.dir, chunk, batch) : buildOnce(values.dir, chunk, batch));
    await using link = await Link.start(built.blobs, megabytes, Number(values.delay));
    const runs: Run[] = [];
    const memory = await Deno.makeTempDir({ dir: values.dir, prefix: "learned" });
    const learned = values.learned ? await LearnedReads.open(memory) : undefined;
    for (let i = values.learned ? -1 : 0; i < Number(values.runs); i++) {
      const scratch = await Deno.makeTempDir({ dir: values.dir, prefix: "run" });
      try {
        const result = await run(built, link, WORKLOADS[name] ?? [], scratch, learned);
        if (i >= 0) runs.push(result);
      } finally {
        await Deno.remove(scratch, { recursive: true });
      }
    }
    await Deno.remove(memory, { recursive: true });
    const result = {
      link: megabytes === 0 ? "unlimited" : `${megabytes} MB/s`,
      workload: name,
      readyMs: Math.round(median(runs.map(({ readyMs }) => readyMs))),
      megabytes: Number((median(runs.map(({ bytes }) => bytes)) / 1e6).toFixed(2)),
      requests: median(runs.map(({ requests }) => requests)),
      askedMegabytes: Number((median(runs.map(({ asked }) => asked)) / 1e6).toFixed(2)),
    };
    results.push(result);
    console.log(
      [result.link, name, `${result.readyMs} ms`, `${result.megabytes} MB`, `${result.requests} requests`].join("\t"),
    );
  }
}
console.log(JSON.stringify({ kernel: Deno.osRelease(), deno: Deno.version.deno, ...values, results }));

/**
 * Row `registry`: read speed of one large file whose data are in a registry on this machine, compared with the
 * registry's own throughput for the blob.
 *
 * The file's bytes are random, so that chunks do not compress and both transfer the same number of bytes.
 *
 * @module
 */
import { encodeTarHeader, TAR_END } from "../../lib/archive/tar_writer.ts";
import { tarEntry } from "../../lib/archive/tar.ts";
import { RegistryProcess } from "../../lib/demo/registry_process.ts";
import { mountNydusd, mountNydusGd, type MountOptions, registryBackend, type ServedMount } from "./mounts.ts";
import { output, versionOf } from "./programs.ts";
import { buildOwn, push } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, dropCaches, inTurn, type Row, type System } from "./row.ts";

const FILE_BYTES = 512 << 20;
const PIECE_BYTES = 64 * 1024;
const REPOSITORY = "bench/large";
const AIM = 0.7;

export const registryRow: Row = {
  name: "registry",
  about: "cold sequential read through a local registry without a limit: GET of the blob, nydusd, nydus-gd",
  async run(bench: Bench): Promise<Figure[]> {
    const dir = `${bench.scratch}/registry-row`;
    await Deno.mkdir(`${dir}/image/blobs`, { recursive: true });
    await using registry = await RegistryProcess.start(`${dir}/registry`);
    bench.progress("building an image with one file of random bytes");
    await buildOwn(() => Promise.resolve({ readable: largeFileTar() }), `${dir}/image`);
    await push(registry.host, REPOSITORY, `${dir}/image`, []);
    const [blob] = [...Deno.readDirSync(`${dir}/image/blobs`)];
    let runs = 0;
    const read = async (mount: (options: MountOptions) => Promise<ServedMount>): Promise<number> => {
      const own = `${dir}/${runs++}`;
      const backend = registryBackend(registry.host, REPOSITORY);
      const bootstrap = `${dir}/image/image.boot`;
      const mounted = await mount({ program: bench.program, bootstrap, backend, dir: own });
      try {
        await dropCaches();
        const start = performance.now();
        await output("dd", [`if=${mounted.path}/large`, "of=/dev/null", "bs=128K", "status=none"]);
        return FILE_BYTES / 1e3 / (performance.now() - start);
      } finally {
        await mounted[Symbol.asyncDispose]();
        await Deno.remove(own, { recursive: true });
      }
    };
    const get = async (): Promise<number> => {
      await dropCaches();
      const url = `http://${registry.host}/v2/${REPOSITORY}/blobs/sha256:${blob?.name}`;
      const format = "%{size_download} %{time_total}";
      const text = await output("curl", ["--silent", "--fail", "--output", "/dev/null", "--write-out", format, url]);
      const [bytes = NaN, seconds = NaN] = text.split(" ").map(Number);
      return bytes / 1e6 / seconds;
    };
    const systems: System<number>[] = [{ name: "GET", measure: get }];
    if (await versionOf("nydusd") !== undefined) systems.push({ name: "nydusd", measure: () => read(mountNydusd) });
    systems.push({ name: "nydus-gd", measure: () => read(mountNydusGd) });
    return [{
      name: "cold sequential",
      unit: "MB/s",
      values: Object.fromEntries(await inTurn(bench, systems)),
      aim: { of: "nydus-gd", against: "GET", atLeast: AIM },
    }];
  },
};

/** A tar with the file `large`. */
function largeFileTar(): ReadableStream<Uint8Array> {
  let left = FILE_BYTES;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const name = new TextEncoder().encode("large");
      controller.enqueue(encodeTarHeader(tarEntry({ type: "file", name, mode: 0o644, sizeBytes: FILE_BYTES })));
    },
    pull(controller) {
      if (left > 0) {
        controller.enqueue(crypto.getRandomValues(new Uint8Array(PIECE_BYTES)));
        left -= PIECE_BYTES;
        return;
      }
      controller.enqueue(TAR_END);
      controller.close();
    },
  });
}

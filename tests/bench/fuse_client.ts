/**
 * The reading side of fuse_bench.ts, a process of its own: runs one workload on a mounted tree and prints what it
 * reached as JSON.
 *
 * `deno run -A fuse_client.ts stat|open|sequential|random DIRECTORY COUNT READ_SIZE CLIENT CLIENTS`
 *
 * Of CLIENTS processes that run at once, number CLIENT takes its own part, so that none finds what another has cached.
 *
 * @module
 */
import { AT, O, open } from "../../ffi/fcntl.ts";
import { statat } from "../../ffi/sys_stat.ts";
import { pread, read } from "../../ffi/unistd.ts";

const [workload, directory, countText, sizeText, clientText, clientsText] = Deno.args as [
  ...[workload: string, directory: string, count: string, size: string, client: string, clients: string],
];
const count = Number(countText);
const size = Number(sizeText);
const client = Number(clientText);
const clients = Number(clientsText);
const buffer = new Uint8Array(size);

/** Names of this client's small files, each once, in an order that is no order. */
function smallFiles(): Uint8Array[] {
  const encoder = new TextEncoder();
  const names: Uint8Array[] = [];
  for (let i = client; i < count; i += clients) {
    const number = String((i * 7919) % count).padStart(6, "0");
    names.push(encoder.encode(`${directory}/small/f${number}`));
  }
  return names;
}

const workloads: Readonly<Record<string, () => number>> = {
  stat: () => {
    const names = smallFiles();
    for (const name of names) statat(AT.FDCWD, name);
    return names.length;
  },
  open: () => {
    const names = smallFiles();
    for (const name of names) {
      using fd = open(name, O.RDONLY);
      if (read(fd, buffer) === 0) throw new Error("Cannot read small file: empty");
    }
    return names.length;
  },
  sequential: () => {
    using fd = open(`${directory}/big`, O.RDONLY);
    const part = Math.floor(statat(AT.FDCWD, `${directory}/big`).size / clients);
    let bytes = 0;
    while (bytes < part) bytes += pread(fd, buffer, client * part + bytes);
    return bytes;
  },
  random: () => {
    using fd = open(`${directory}/big`, O.RDONLY);
    const pages = statat(AT.FDCWD, `${directory}/big`).size / size;
    let seed = 12345 + client;
    const own = Math.floor(count / clients);
    for (let i = 0; i < own; i++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      if (pread(fd, buffer, Math.floor(seed / 2 ** 32 * pages) * size) !== size) throw new Error("Cannot read: short");
    }
    return own;
  },
};

const run = workloads[workload];
if (run === undefined) throw new Error(`Cannot run workload ${workload}: unknown`);
const start = performance.now();
const done = run();
const seconds = (performance.now() - start) / 1000;
console.log(JSON.stringify({ workload, done, seconds, perSecond: done / seconds }));

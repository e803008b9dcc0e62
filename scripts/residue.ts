/**
 * Detects what a test run leaves behind: mounts, processes, loop devices, and files where an installed nydus-gd or
 * dockerd keeps its own.
 *
 * In the namespaces created by scripts/test.sh, every mount and process belongs to the run. Without them, others are
 * visible too; then only processes below this one and mounts below the scratch folder count. Loop devices are shared by
 * the whole machine: those with a backing file in the scratch folder are ours.
 *
 * @module
 */
import { processStat, readProcessFile } from "../ffi/procfs.ts";
import { delay } from "../lib/base/abort.ts";
import { ignore } from "../lib/base/errors.ts";

/** Paths where nothing may appear, because tests use folders of their own. */
const PLACES = [
  "/etc/docker/key.json",
  "/etc/nydus-gd",
  "/opt/containerd",
  "/run/docker/plugins/nydus-gd.sock",
  "/run/nydus-gd",
  "/var/cache/nydus-gd",
  "/var/lib/nydus-gd",
  "/var/lib/nydus",
];

/** How long processes that were told to end may take. */
const SETTLE_TIMEOUT_MS = 5_000;
const SETTLE_INTERVAL_MS = 50;

/** The state of the machine before the run. */
export class Residue {
  private constructor(
    private readonly scratch: string,
    private readonly isolated: boolean,
    private readonly mounts: ReadonlySet<string>,
    private readonly places: ReadonlySet<string>,
  ) {}

  /** @param scratch folder that is removed after the run; files in it do not count */
  static async before(scratch: string): Promise<Residue> {
    const isolated = Deno.ppid === 1;
    return new Residue(scratch, isolated, new Set(await mountPoints()), new Set(await existing(PLACES)));
  }

  /** One sentence for each thing that exists now and did not before. */
  async after(): Promise<string[]> {
    const processes = await this.#settledProcesses();
    const mounts = (await mountPoints())
      .filter((mount) => !this.mounts.has(mount) && (this.isolated || mount.startsWith(this.scratch)));
    const places = (await existing(PLACES)).filter((place) => !this.places.has(place));
    return [
      ...processes.map((process) => `left behind: process ${process}`),
      ...mounts.map((mount) => `left behind: mount ${mount}`),
      ...(await loopDevices(this.scratch)).map((device) => `left behind: loop device ${device}`),
      ...places.map((place) => `left behind: ${place}`),
    ];
  }

  async #settledProcesses(): Promise<string[]> {
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    while (true) {
      const processes = await otherProcesses({ isolated: this.isolated });
      if (processes.length === 0 || performance.now() > deadline) return processes;
      await delay(SETTLE_INTERVAL_MS);
    }
  }
}

/** Mount points, listed once per mount on them. */
async function mountPoints(): Promise<string[]> {
  const seen = new Map<string, number>();
  return (await Deno.readTextFile("/proc/self/mountinfo")).trimEnd().split("\n").map((line) => {
    const point = line.split(" ")[4] ?? line;
    const count = (seen.get(point) ?? 0) + 1;
    seen.set(point, count);
    return count === 1 ? point : `${point} (${count} times)`;
  });
}

/** "pid command line" of each process of the run except process 1 and this one. */
async function otherProcesses({ isolated }: { readonly isolated: boolean }): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === 1 || pid === Deno.pid) continue;
    const stat = processStat(pid);
    if (stat === undefined || stat[0] === "Z" || (!isolated && Number(stat[1]) !== Deno.pid)) continue;
    const command = (readProcessFile(pid, "cmdline") ?? "").replaceAll("\0", " ").trim();
    found.push(`${pid} ${command}`);
  }
  return found;
}

async function loopDevices(scratch: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/sys/block")) {
    if (!name.startsWith("loop")) continue;
    const backing = await readIfThere(`/sys/block/${name}/loop/backing_file`);
    if (backing.startsWith(scratch)) found.push(`/dev/${name} on ${backing.trim()}`);
  }
  return found;
}

async function existing(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    try {
      await Deno.lstat(path);
      found.push(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return found;
}

/** The text of a file under /proc or /sys; empty if its subject is gone. */
async function readIfThere(path: string): Promise<string> {
  return await ignore(Deno.errors.NotFound, Deno.readTextFile(path)) ?? "";
}

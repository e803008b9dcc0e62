/**
 * A disk in a file, partitioned by util-linux's sfdisk, with one blob per partition.
 *
 * @module
 */
import { BASIC_DATA, LINUX_DATA, partitionOfBlob } from "./gpt_image.ts";

/** Sectors before and between partitions: sfdisk's own alignment would make the disk large. */
const GAP_SECTORS = 64;

const SECTOR_BYTES = 512;

/**
 * Makes the disk.
 *
 * @param legacy ids as in older images: half of the id is the name of a basic data partition
 */
export async function makePartitionedDisk(
  path: string,
  blobs: ReadonlyMap<string, Uint8Array>,
  legacy = false,
): Promise<void> {
  let next = GAP_SECTORS;
  const places = [...blobs].map(([id, data]) => {
    const sectors = Math.max(1, Math.ceil(data.length / SECTOR_BYTES));
    const place = { id, data, start: next, sectors };
    next += sectors + GAP_SECTORS;
    return place;
  });
  await Deno.writeFile(path, new Uint8Array());
  await Deno.truncate(path, (next + GAP_SECTORS) * SECTOR_BYTES);
  const lines = places.map(({ id, start, sectors }) => {
    const { name, guid } = partitionOfBlob(id);
    const kind = legacy ? BASIC_DATA : `${LINUX_DATA}, uuid=${guid}`;
    return `start=${start}, size=${sectors}, type=${kind}, name="${name}"`;
  });
  const sfdisk = new Deno.Command("sfdisk", { args: ["--quiet", path], stdin: "piped", stderr: "piped" }).spawn();
  const writer = sfdisk.stdin.getWriter();
  await writer.write(
    new TextEncoder().encode(["label: gpt", "unit: sectors", "first-lba: 40", ...lines, ""].join("\n")),
  );
  await writer.close();
  const { success, stderr } = await sfdisk.output();
  if (!success) throw new Error(`Cannot partition ${path}: ${new TextDecoder().decode(stderr)}`);
  using disk = await Deno.open(path, { write: true });
  for (const { start, data } of places) {
    await disk.seek(start * SECTOR_BYTES, Deno.SeekMode.Start);
    for (let written = 0; written < data.length;) written += await disk.write(data.subarray(written));
  }
}

/** A loop device for a file. */
export class LoopDevice implements AsyncDisposable {
  private constructor(readonly path: string) {}

  /** Returns undefined if this machine has no loop devices, as in an unprivileged container. */
  static async attach(file: string): Promise<LoopDevice | undefined> {
    const args = ["--find", "--show", "--read-only", file];
    const { success, stdout } = await new Deno.Command("losetup", { args, stderr: "null" }).output();
    return success ? new LoopDevice(new TextDecoder().decode(stdout).trim()) : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Deno.Command("losetup", { args: ["--detach", this.path] }).output();
  }
}

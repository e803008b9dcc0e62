/**
 * Tests that run on kernels in virtual machines.
 *
 * `NYDUS_GD_VM_KERNEL` selects the kernel ("6.1"); the default is 6.12. Where virtual machines are not available, the
 * tests are skipped with a message; in CI, where qemu is installed, they fail.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import { type DiskOptions, makeDisk } from "./disk.ts";
import { isInstalled, KERNEL_SERIES, kernelMissing, type KernelSeries } from "./kernel.ts";
import { QEMU } from "./qemu.ts";
import { virtiofsdMissing } from "./shared_folder.ts";
import { type MachineOptions, VirtualMachine } from "./virtual_machine.ts";

/** The selected kernel. */
export const KERNEL: KernelSeries = named(Deno.env.get("NYDUS_GD_VM_KERNEL") ?? "6.12");

/** Whether tests in machines were requested by name; otherwise they do less. */
export const IS_THOROUGH = Deno.env.get("NYDUS_GD_VM_THOROUGH") !== undefined;

const GIB = 2 ** 30;
/** Disk for state and caches: neither an overlay nor in memory. */
export const DATA_DISK: DiskOptions = { sizeBytes: 8 * GIB, fsType: "ext4", mountPoint: "/data" };

function named(series: string): KernelSeries {
  const found = KERNEL_SERIES.find((name) => name === series);
  if (found === undefined) throw new Error(`Cannot test on kernel ${series}: not one of ${KERNEL_SERIES.join(", ")}`);
  return found;
}

/** Why no machine with this kernel is available here; undefined if it is. */
async function machineMissing(series: KernelSeries): Promise<string | undefined> {
  if (Deno.uid() !== 0) return "not root";
  if (!await isInstalled(QEMU)) return `${QEMU} is not installed`;
  return await virtiofsdMissing() ?? await kernelMissing(series);
}

const missing = await machineMissing(KERNEL);
console.log(
  `virtual machines: kernel ${KERNEL}${missing === undefined ? "" : `; their tests are skipped: ${missing}`}`,
);

/** Starts machines one after the other on the same disks, like restarts of one machine. */
export type StartMachine = (options: Omit<MachineOptions, "kernel" | "disks">) => Promise<VirtualMachine>;

/** A test with a disk on /data and further disks as requested, which are removed with it. */
export function vmTest(
  name: string,
  fn: (start: StartMachine, t: Deno.TestContext) => Promise<void>,
  furtherDisks: readonly DiskOptions[] = [],
): void {
  Deno.test({
    name,
    ignore: missing !== undefined && Deno.env.get("CI") === undefined,
    fn: async (t) => {
      using temp = TempDir.make();
      const disks = await Promise.all(
        [DATA_DISK, ...furtherDisks].map((disk, index) => makeDisk(temp.join(`disk-${index}`), disk)),
      );
      await fn((options) => VirtualMachine.start({ ...options, kernel: KERNEL, disks }), t);
    },
  });
}

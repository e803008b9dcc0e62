/**
 * qemu as an emulator of a whole PC, and the initrd for its kernel.
 *
 * No acceleration is used: behaviour must be the same everywhere, and nested virtualisation is rarely available.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";
import type { Kernel } from "./kernel.ts";

/** The program, of Debian's qemu-system-x86. */
export const QEMU = "qemu-system-x86_64";

const INIT = decodeURIComponent(new URL("init.sh", import.meta.url).pathname);

/**
 * Kernel errors end the machine, because results after one would be meaningless. Under load on the host the emulated
 * timer is late, which is no error.
 */
const COMMAND_LINE = "console=ttyS0 loglevel=4 oops=panic panic=-1 mitigations=off nokaslr no_timer_check";

/**
 * Test files run in parallel, one machine each, and together use all processors of the host. With two processors per
 * machine, one would wait for the other while that waits for a host processor, and a kernel that patches its own code
 * at boot then crashes occasionally.
 */
const CPUS = 1;

/**
 * Disables features that are slow to emulate: fast string instructions, which the kernel prefers but which are emulated
 * byte by byte; memory protection keys, used by V8 for its code, where each change flushes the TLB; guards between
 * kernel and programs; five-level page tables.
 */
const CPU_MODEL = "max,erms=off,fsrm=off,pku=off,smap=off,smep=off,la57=off";

/** Components of the emulated PC. */
export interface MachineParts {
  readonly kernel: Kernel;
  /** Path of the archive written by {@link makeInitrd}. */
  readonly initrd: string;
  readonly memoryMib: number;
  /** Image files: /dev/vda, /dev/vdb, … */
  readonly disks: readonly string[];
  /** virtiofsd's sockets by mount tag. */
  readonly folders: readonly { readonly tag: string; readonly socket: string }[];
  /** Socket that qemu connects to: the machine's port "agent". */
  readonly portSocket: string;
  /** Output file of its serial console. */
  readonly consolePath: string;
}

/** Arguments of qemu. */
export function qemuArguments(parts: MachineParts): string[] {
  const { kernel, memoryMib } = parts;
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"],
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU_MODEL, "-smp", String(CPUS)],
    // virtiofsd accesses the machine's memory
    ...["-m", `${memoryMib}M`, "-object", `memory-backend-memfd,id=memory,size=${memoryMib}M,share=on`],
    ...["-numa", "node,memdev=memory"],
    ...["-kernel", kernel.image, "-initrd", parts.initrd, "-append", COMMAND_LINE],
    ...["-serial", `file:${parts.consolePath}`],
    ...["-chardev", `socket,id=port,path=${parts.portSocket}`],
    ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=agent"],
    ...parts.disks.flatMap((path, index) => [
      "-drive",
      `file=${path},if=none,id=disk${index},format=raw,cache=unsafe`,
      "-device",
      `virtio-blk-pci,drive=disk${index}`,
    ]),
    ...parts.folders.flatMap(({ tag, socket }) => [
      "-chardev",
      `socket,id=${tag},path=${socket}`,
      "-device",
      `vhost-user-fs-pci,chardev=${tag},tag=${tag}`,
    ]),
  ];
}

/** $1 work folder, $2 modules to load first, $3 first program, $4 archive. */
const PACK = `
set -e
mkdir "$1" && cd "$1"
mkdir bin proc sys dev host root memory
cp "$(command -v busybox)" bin/busybox
cp -r "$2" modules
cp "$3" init
chmod 755 init
find . | busybox cpio -o -H newc >"$4" 2>/dev/null
`;

/** Writes the initrd: busybox, modules, init.sh. */
export async function makeInitrd(kernel: Kernel, dir: string, path: string): Promise<void> {
  const args = ["-c", PACK, "sh", `${dir}/initrd.tree`, kernel.bootModules, INIT, path];
  const { success, stderr } = await new Deno.Command("sh", { args, stdin: "null" }).output();
  if (success) return;
  throw new NydusGdError("environment", `Cannot write ${path}: ${new TextDecoder().decode(stderr).trim()}`);
}

/**
 * qemu as an emulator of a whole PC, and the archive that its kernel unpacks before it has a root.
 *
 * No acceleration is asked for: what it does has to be the same wherever it runs, and nested virtual machines are rare.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";
import type { Kernel } from "./kernel.ts";

/** The program, of Debian's qemu-system-x86. */
export const QEMU = "qemu-system-x86_64";

const INIT = decodeURIComponent(new URL("init.sh", import.meta.url).pathname);

/**
 * After an error of the kernel the machine ends: nothing that it says after that would count. Where other work takes the
 * processors, the emulated timer is late, which is no error.
 */
const COMMAND_LINE = "console=ttyS0 loglevel=4 oops=panic panic=-1 mitigations=off nokaslr no_timer_check";

/**
 * Test files run side by side, each in a machine: together they have the processors that there are. With two in each, one
 * waits for the other that waits for a processor here, and a kernel that patches its own code at boot crashes now and then.
 */
const CPUS = 1;

/**
 * Without what costs an emulator more than it gives a program: instructions that copy strings fast, which it does a byte
 * at a time and the kernel prefers; keys of memory, by which V8 protects its code and each change of which empties the
 * table of pages; guards between kernel and programs; a fifth level of page tables.
 */
const CPU_MODEL = "max,erms=off,fsrm=off,pku=off,smap=off,smep=off,la57=off";

/** What the emulated PC has. */
export interface MachineParts {
  readonly kernel: Kernel;
  /** Path of the archive that {@link makeInitrd} wrote. */
  readonly initrd: string;
  readonly memoryMib: number;
  /** Image files: /dev/vda, /dev/vdb, … */
  readonly disks: readonly string[];
  /** virtiofsd's sockets by the tags that the machine mounts. */
  readonly folders: readonly { readonly tag: string; readonly socket: string }[];
  /** Socket that qemu connects to: the machine's port "agent". */
  readonly portSocket: string;
  /** File of what the machine prints on its serial console. */
  readonly consolePath: string;
}

/** Its command line. */
export function qemuArguments(parts: MachineParts): string[] {
  const { kernel, memoryMib } = parts;
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"],
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU_MODEL, "-smp", String(CPUS)],
    // virtiofsd reads and writes the machine's memory
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

/** $1 folder to work in, $2 the modules that are loaded first, $3 its first program, $4 the archive. */
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

/** Writes the archive: busybox, modules, init.sh. */
export async function makeInitrd(kernel: Kernel, dir: string, path: string): Promise<void> {
  const args = ["-c", PACK, "sh", `${dir}/initrd.tree`, kernel.bootModules, INIT, path];
  const { success, stderr } = await new Deno.Command("sh", { args, stdin: "null" }).output();
  if (success) return;
  throw new NydusGdError("environment", `Cannot write ${path}: ${new TextDecoder().decode(stderr).trim()}`);
}

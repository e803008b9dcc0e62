/**
 * Files of /proc/PID of processes that may end at any moment: proc(5).
 *
 * Reading such a file after its process ended fails with ESRCH, which the runtime's own functions report only as a
 * message.
 *
 * @module
 */
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { read } from "./unistd.ts";

/** Bytes per read. */
const PIECE_BYTES = 4096;

/**
 * Reads `/proc/<pid>/<name>`; undefined if the process does not exist or ends during the read.
 *
 * @throws {SyscallError} EACCES, EPERM
 */
export function readProcessFile(pid: number | string, name: string): string | undefined {
  const decoder = new TextDecoder();
  const piece = new Uint8Array(PIECE_BYTES);
  try {
    using file = open(`/proc/${pid}/${name}`, O.RDONLY);
    for (let text = "";;) {
      const length = read(file, piece);
      if (length === 0) return text;
      text += decoder.decode(piece.subarray(0, length), { stream: true });
    }
  } catch (error) {
    if (isErrno(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
}

/**
 * Reads the link `/proc/<pid>/<name>`; undefined if the process or, below `fd`, the descriptor does not exist.
 *
 * @throws {Error} Deno.errors.PermissionDenied
 */
export function readProcessLink(pid: number | string, name: string): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/${pid}/${name}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Fields of `/proc/PID/stat` after the command name, which is in parentheses and may contain anything. The first one is
 * field 3 of proc(5), the state.
 */
function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** {@link statFields} of a process; undefined when {@link readProcessFile} returns undefined. */
export function processStat(pid: number | string): string[] | undefined {
  const text = readProcessFile(pid, "stat");
  return text === undefined ? undefined : statFields(text);
}

/** Whether this process ignores the signal `number`, from 1: signal(7). Inherited from the program that started it. */
export function ignoresSignal(number: number): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readProcessFile("self", "status") ?? "")?.[1] ?? "0";
  return (BigInt(`0x${mask}`) >> BigInt(number - 1) & 1n) === 1n;
}

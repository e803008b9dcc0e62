/**
 * Files of /proc/PID, of processes that may end at any moment: proc(5).
 *
 * Who opened such a file before its process ended reads ESRCH, which the runtime's own reading tells by a message alone.
 *
 * @module
 */
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { read } from "./unistd.ts";

/** Bytes of a file that are asked for at once. */
const PIECE_BYTES = 4096;

/**
 * What `/proc/<pid>/<name>` holds; undefined when there is no such process, or it ends meanwhile.
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
 * Fields of a text of `/proc/PID/stat` behind the name, which stands in parentheses and may hold anything: the first is
 * field 3 of proc(5), the state.
 */
export function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** {@link statFields} of a process; undefined where {@link readProcessFile} has nothing. */
export function processStat(pid: number | string): string[] | undefined {
  const text = readProcessFile(pid, "stat");
  return text === undefined ? undefined : statFields(text);
}

/**
 * Single accesses to a mounted tree in a separate process, since a process that serves a mount must not access it.
 *
 * ```ts
 * const [names, bytes] = await probe([{ op: "names", path }, { op: "read", path, offset: 0, length: 5 }]);
 * ```
 * Each result is a text: what the operation returned, or "ERR:ENOENT".
 *
 * @module
 */
import { readDirectory } from "../../../ffi/dirent.ts";
import { SyscallError } from "../../../ffi/errno.ts";
import { AT, dropPages, O, open } from "../../../ffi/fcntl.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import { mkdirat, statat } from "../../../ffi/sys_stat.ts";
import { statfs } from "../../../ffi/sys_statfs.ts";
import { lgetxattr, lsetxattr } from "../../../ffi/sys_xattr.ts";
import { pread, unlinkat } from "../../../ffi/unistd.ts";
import { answerLines, LineProcess, SERVE } from "../process/line_process.ts";
import { programUrl } from "../repository.ts";
import { PATIENCE_MS } from "../until.ts";

/** This module. */
const PROGRAM = programUrl(import.meta, "fs_probe.ts");

/** One access. Bytes are returned as hexadecimal. */
export type Probe =
  /** pread(2); `direct`: with O_DIRECT. */
  | { op: "read"; path: string; offset: number; length: number; direct?: boolean }
  | { op: "mmap"; path: string; offset: number; length: number }
  /** Empties the kernel's cache of the file, as far as nobody uses it. */
  | { op: "drop"; path: string }
  /** Number of names except "." and "..", and number of distinct ones. */
  | { op: "names"; path: string }
  | { op: "stat"; path: string }
  | { op: "statfs"; path: string }
  | { op: "getxattr"; path: string; name: string }
  | { op: "mkdir"; path: string }
  | { op: "create"; path: string }
  | { op: "unlink"; path: string }
  | { op: "setxattr"; path: string };

/** Runs the accesses in order. */
export async function probe(
  probes: readonly Probe[],
  signal: AbortSignal = AbortSignal.timeout(PATIENCE_MS),
): Promise<string[]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--no-check", PROGRAM, JSON.stringify(probes)],
    signal,
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(`Cannot probe: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout)) as string[];
}

/** A reusable process for {@link probe}. */
export class Prober implements AsyncDisposable {
  readonly #process = new LineProcess(PROGRAM);

  /** Runs the accesses in order. */
  async probe(probes: readonly Probe[], timeoutMs: number): Promise<string[]> {
    return JSON.parse(await this.#process.ask(JSON.stringify(probes), timeoutMs)) as string[];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

function answer(p: Probe): string {
  switch (p.op) {
    case "read":
      return readBytes(p.path, p.offset, p.length, p.direct ?? false);
    case "mmap": {
      using fd = open(p.path, O.RDONLY);
      using mapping = Mapping.ofFile(fd, p.offset + p.length);
      return mapping.bytes.slice(p.offset).toHex();
    }
    case "drop": {
      using fd = open(p.path, O.RDONLY);
      dropPages(fd);
      return "done";
    }
    case "names": {
      using fd = open(p.path, O.RDONLY | O.DIRECTORY);
      const names = [...readDirectory(fd)].map(({ name }) => name.toHex()).filter((hex) =>
        hex !== "2e" && hex !== "2e2e"
      );
      return `${names.length} ${new Set(names).size}`;
    }
    case "stat": {
      const { ino, mode, nlink, size } = statat(AT.FDCWD, p.path, AT.SYMLINK_NOFOLLOW);
      return `${ino} 0${mode.toString(8)} ${nlink} ${size}`;
    }
    case "statfs": {
      const { blockSize, blocks, freeBlocks, availableBlocks, files, nameLength } = statfs(p.path);
      return `${blockSize} ${blocks} ${freeBlocks} ${availableBlocks} ${files} ${nameLength}`;
    }
    case "getxattr":
      return lgetxattr(p.path, p.name).toHex();
    case "mkdir":
      mkdirat(AT.FDCWD, p.path, 0o755);
      return "done";
    case "create":
      open(p.path, O.WRONLY | O.CREAT)[Symbol.dispose]();
      return "done";
    case "unlink":
      unlinkat(AT.FDCWD, p.path);
      return "done";
    case "setxattr":
      lsetxattr(p.path, "user.x", new Uint8Array(1));
      return "done";
  }
}

function readBytes(path: string, offset: number, length: number, direct: boolean): string {
  using fd = open(path, O.RDONLY | (direct ? O.DIRECT : 0));
  using memory = Mapping.anonymous(length); // O_DIRECT requires aligned memory
  return memory.bytes.slice(0, pread(fd, memory.bytes, offset)).toHex();
}

/** Runs a request in JSON; returns the results in JSON. */
function answersTo(request: string): string {
  const answers = (JSON.parse(request) as Probe[]).map((p) => {
    try {
      return answer(p);
    } catch (error) {
      if (error instanceof SyscallError) return `ERR:${error.code}`;
      throw error;
    }
  });
  return JSON.stringify(answers);
}

if (import.meta.main) {
  const [request] = Deno.args;
  if (request === undefined) throw new Error("Cannot probe: nothing to do");
  if (request === SERVE) await answerLines(answersTo);
  else console.log(answersTo(request));
}

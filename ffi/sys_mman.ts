/**
 * Memory that is a file, or that is not the JavaScript heap's.
 *
 * A view of a mapping is ordinary memory: reading past the end of the file (it was truncated) or a page that cannot be
 * read (EIO) is SIGBUS and ends the process. Map only files that nobody shortens.
 *
 * Source: asm-generic/mman-common.h and linux/mman.h 6.18.
 *
 * @module
 */
import { type AnyFd, Fd, rawFd } from "./fd.ts";
import { check, cstring, failure, loadLibc } from "./libc.ts";

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
const MAP_FAILED = -1n;
const MS_SYNC = 4;
const MFD_CLOEXEC = 1;

const libc = loadLibc({
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
  mmap: { parameters: ["u64", "usize", "i32", "i32", "i32", "i64"], result: "i64" },
  munmap: { parameters: ["u64", "usize"], result: "i32" }, // int munmap(void *addr, size_t length)
  msync: { parameters: ["u64", "usize", "i32"], result: "i32" }, // int msync(void *addr, size_t length, int flags)
  getpagesize: { parameters: [], result: "i32" }, // int getpagesize(void)
  madvise: { parameters: ["u64", "usize", "i32"], result: "i32" }, // int madvise(void *addr, size_t length, int advice)
  mlock: { parameters: ["u64", "usize"], result: "i32" }, // int mlock(const void *addr, size_t length)
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" }, // int memfd_create(const char *name, unsigned flags)
});

/** How memory will be used, for {@link Mapping.advise} and {@link adviseMemory}. */
export const MADV = { NORMAL: 0, RANDOM: 1, SEQUENTIAL: 2, WILLNEED: 3, DONTNEED: 4 } as const;

/**
 * A file of no bytes that is nowhere but in memory, and goes with its last descriptor.
 *
 * @param name shown by /proc/PID/fd as "/memfd:<name>"
 */
export function memfdCreate(name: string): Fd {
  return Fd.own(check(libc().memfd_create(cstring(name), MFD_CLOEXEC), "memfd_create", name));
}

/** How {@link Mapping.ofFile} maps. */
export interface MapOptions {
  /** Writes reach the file and other mappings; else they stay in this one. Default false. */
  readonly shared?: boolean;
  /** Writing to a mapping without it is SIGSEGV. A shared one needs a descriptor open for writing. Default false. */
  readonly writable?: boolean;
  /** Where in the file, a multiple of the page size. Default 0. */
  readonly offset?: number;
}

/**
 * One mmap(2).
 *
 * Disposing unmaps and detaches {@link bytes}: views of that array in this thread have length 0 from then on. Views made
 * by {@link viewAt}, in Workers above all, cannot be detached: who disposes makes sure that they are no longer used.
 */
export class Mapping implements Disposable {
  #address: bigint;
  #bytes: Uint8Array<ArrayBuffer>;
  /** Bytes, as asked for. */
  readonly length: number;

  private constructor(address: bigint, length: number) {
    this.#address = address;
    this.length = length;
    this.#bytes = viewAt(address, length);
  }

  /**
   * Maps `length` bytes (at least 1) of a file, which may be closed afterwards.
   *
   * @throws {SyscallError} EACCES where the descriptor does not allow it, EINVAL for length 0 or an odd offset, ENODEV
   * where the file system cannot map
   */
  static ofFile(fd: AnyFd, length: number, options: MapOptions = {}): Mapping {
    const raw = rawFd(fd);
    const protection = PROT_READ | (options.writable ? PROT_WRITE : 0);
    return Mapping.#map(length, protection, options.shared ? MAP_SHARED : MAP_PRIVATE, raw, options.offset ?? 0);
  }

  /** Maps `length` bytes of zeros that belong to no file; shared by all threads, writable. */
  static anonymous(length: number): Mapping {
    return Mapping.#map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  static #map(length: number, protection: number, flags: number, fd: number, offset: number): Mapping {
    const address = libc().mmap(0n, BigInt(length), protection, flags, fd, BigInt(offset));
    if (address === MAP_FAILED) throw failure("mmap", fd < 0 ? "anonymous memory" : fd);
    return new Mapping(address, length);
  }

  /** Where it is: for another thread's {@link viewAt}, for C. Throws once disposed. */
  get address(): bigint {
    if (this.#address === 0n) throw new Error("Cannot use mapping: already unmapped");
    return this.#address;
  }

  /** The memory itself. Throws once disposed. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#address === 0n) throw new Error("Cannot use mapping: already unmapped");
    return this.#bytes;
  }

  /** Writes changes of a shared mapping to the disk and waits for it; whole pages around the range. */
  sync(offset = 0, length = this.length - offset): void {
    const [start, size] = this.#pages(offset, length);
    check(libc().msync(start, size, MS_SYNC), "msync", "mapping");
  }

  /** Tells the kernel what to expect; `advice` is one of {@link MADV}. */
  advise(advice: number, offset = 0, length = this.length - offset): void {
    const [start, size] = this.#pages(offset, length);
    check(libc().madvise(start, size, advice), "madvise", "mapping");
  }

  /**
   * Makes every page of a part of a writable mapping present and writable, and keeps it so as far as the limit on locked
   * memory allows: the kernel can write there for a thread that is being killed, which may wait for no page any more.
   */
  pin(offset = 0, length = this.length - offset): void {
    const [start, size] = this.#pages(offset, length);
    libc().mlock(start, size); // where it is refused the pages are there for now
    const words = new Int32Array(this.bytes.buffer, 0, Math.floor((offset + length) / 4));
    const step = libc().getpagesize() / 4;
    for (let word = Number(start - this.address) / 4; word < words.length; word += step) Atomics.or(words, word, 0);
  }

  [Symbol.dispose](): void {
    if (this.#address === 0n) return;
    const address = this.#address;
    this.#address = 0n;
    // Detaches without a copy: the memory is not V8's.
    this.#bytes.buffer.transfer();
    libc().munmap(address, BigInt(this.length));
  }

  /** Address and length of the range, grown to the left to a page boundary, as the kernel wants it. */
  #pages(offset: number, length: number): [start: bigint, size: bigint] {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.length)) {
      throw new RangeError(`Cannot use mapping of ${this.length} bytes: range is ${offset}+${length}`);
    }
    const before = offset % libc().getpagesize();
    return [this.address + BigInt(offset - before), BigInt(length + before)];
  }
}

/**
 * The memory of a {@link Mapping} that another thread holds. Nothing checks that it is still mapped: a view of unmapped
 * memory is SIGSEGV.
 */
export function viewAt(address: bigint, length: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address);
  if (pointer === null) throw new RangeError("Cannot view memory: address is 0");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}

/**
 * Tells the kernel what to expect of memory that is not a {@link Mapping} of ours, whole pages.
 *
 * @param advice one of {@link MADV}. DONTNEED empties memory that no file is behind
 * @throws {SyscallError} ENOMEM where nothing is mapped
 */
export function adviseMemory(address: bigint, length: number, advice: number): void {
  check(libc().madvise(address, BigInt(length), advice), "madvise", "memory");
}

/**
 * Memory mapped from a file, or allocated outside the JavaScript heap.
 *
 * Accessing a mapping past the end of its file (after truncation), or a page that cannot be read (EIO), raises SIGBUS
 * and ends the process. Map only files that are never truncated.
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
const MAP_LOCKED = 0x2000;
const MAP_POPULATE = 0x8000;
const MAP_FAILED = -1n;
const MFD_CLOEXEC = 1;

const libc = loadLibc({
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
  mmap: { parameters: ["u64", "usize", "i32", "i32", "i32", "i64"], result: "i64" },
  munmap: { parameters: ["u64", "usize"], result: "i32" }, // int munmap(void *addr, size_t length)
  getpagesize: { parameters: [], result: "i32" }, // int getpagesize(void)
  madvise: { parameters: ["u64", "usize", "i32"], result: "i32" }, // int madvise(void *addr, size_t length, int advice)
  mlock: { parameters: ["u64", "usize"], result: "i32" }, // int mlock(const void *addr, size_t length)
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" }, // int memfd_create(const char *name, unsigned flags)
});

/** Expected use of memory, for {@link Mapping.advise} and {@link adviseMemory}. */
export const MADV = { NORMAL: 0, RANDOM: 1, SEQUENTIAL: 2, WILLNEED: 3, DONTNEED: 4 } as const;

/** Bytes of a page of this machine. */
export function pageSize(): number {
  return libc().getpagesize();
}

/**
 * Creates an empty file that exists only in memory and disappears with its last descriptor.
 *
 * @param name shown in /proc/PID/fd as "/memfd:<name>"
 */
export function memfdCreate(name: string): Fd {
  return Fd.own(check(libc().memfd_create(cstring(name), MFD_CLOEXEC), "memfd_create", name));
}

/** Options of {@link Mapping.ofFile}. */
export interface MapOptions {
  /** Writes reach the file and other mappings; otherwise they stay in this one. Default false. */
  readonly shared?: boolean;
  /** Without it, writing raises SIGSEGV. A shared mapping needs a descriptor open for writing. Default false. */
  readonly writable?: boolean;
  /** Offset in the file, a multiple of the page size. Default 0. */
  readonly offset?: number;
  /** Reads all of it now, and keeps it in memory as long as it is mapped. Default false. */
  readonly locked?: boolean;
}

/**
 * A memory mapping, mmap(2).
 *
 * Disposing unmaps and detaches {@link bytes}: views of that array in this thread then have length 0. Views made by
 * {@link viewAt}, usually in Workers, cannot be detached: the caller must ensure that they are no longer used.
 */
export class Mapping implements Disposable {
  #address: bigint;
  #bytes: Uint8Array<ArrayBuffer>;
  /** Bytes, as requested. */
  readonly length: number;

  private constructor(address: bigint, length: number) {
    this.#address = address;
    this.length = length;
    this.#bytes = viewAt(address, length);
  }

  /**
   * Maps `length` bytes (at least 1) of a file. The descriptor may be closed afterwards.
   *
   * @throws {SyscallError} EACCES when the descriptor does not permit it, EINVAL for length 0 or an unaligned offset,
   * EAGAIN when no more memory may be locked, ENODEV when the file system does not support mapping
   */
  static ofFile(fd: AnyFd, length: number, options: MapOptions = {}): Mapping {
    const raw = rawFd(fd);
    const protection = PROT_READ | (options.writable ? PROT_WRITE : 0);
    const flags = (options.shared ? MAP_SHARED : MAP_PRIVATE) | (options.locked ? MAP_LOCKED | MAP_POPULATE : 0);
    return Mapping.#map(length, protection, flags, raw, options.offset ?? 0);
  }

  /** Maps `length` zeroed bytes without a file; writable and shared by all threads. */
  static anonymous(length: number): Mapping {
    return Mapping.#map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  static #map(length: number, protection: number, flags: number, fd: number, offset: number): Mapping {
    const address = libc().mmap(0n, BigInt(length), protection, flags, fd, BigInt(offset));
    if (address === MAP_FAILED) throw failure("mmap", fd < 0 ? "anonymous memory" : fd);
    return new Mapping(address, length);
  }

  /** Address, for C and for {@link viewAt} in another thread. Throws after disposal. */
  get address(): bigint {
    if (this.#address === 0n) throw new Error("Cannot use mapping: already unmapped");
    return this.#address;
  }

  /** The mapped memory. Throws after disposal. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#address === 0n) throw new Error("Cannot use mapping: already unmapped");
    return this.#bytes;
  }

  /** Tells the kernel about expected use; `advice` is one of {@link MADV}. */
  advise(advice: number): void {
    check(libc().madvise(this.address, BigInt(this.length), advice), "madvise", "mapping");
  }

  /**
   * Makes every page of a range of a writable mapping present and writable, and locks it as far as the limit on locked
   * memory allows. The kernel can then write there on behalf of a thread that is being killed and may no longer wait
   * for pages.
   */
  pin(offset: number, length: number): void {
    const [start, size] = this.#pages(offset, length);
    libc().mlock(start, size); // if refused, the pages are present at least for now
    const words = new Int32Array(this.bytes.buffer, 0, Math.floor((offset + length) / 4));
    const step = libc().getpagesize() / 4;
    for (let word = Number(start - this.address) / 4; word < words.length; word += step) Atomics.or(words, word, 0);
  }

  [Symbol.dispose](): void {
    if (this.#address === 0n) return;
    const address = this.#address;
    this.#address = 0n;
    // Detaches without copying: the memory is not owned by V8.
    this.#bytes.buffer.transfer();
    libc().munmap(address, BigInt(this.length));
  }

  /** Address and length of the range, extended down to a page boundary as the kernel requires. */
  #pages(offset: number, length: number): [start: bigint, size: bigint] {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.length)) {
      throw new RangeError(`Cannot use mapping of ${this.length} bytes: range is ${offset}+${length}`);
    }
    const before = offset % libc().getpagesize();
    return [this.address + BigInt(offset - before), BigInt(length + before)];
  }
}

/**
 * View of a {@link Mapping} held by another thread. Does not check that it is still mapped: accessing unmapped memory
 * raises SIGSEGV.
 */
export function viewAt(address: bigint, length: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address);
  if (pointer === null) throw new RangeError("Cannot view memory: address is 0");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}

/**
 * Tells the kernel about expected use of memory that is not a {@link Mapping}, in whole pages.
 *
 * @param advice one of {@link MADV}. DONTNEED discards the content of anonymous memory
 * @throws {SyscallError} ENOMEM when nothing is mapped there
 */
export function adviseMemory(address: bigint, length: number, advice: number): void {
  check(libc().madvise(address, BigInt(length), advice), "madvise", "memory");
}

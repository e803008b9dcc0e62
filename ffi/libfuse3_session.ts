/**
 * Session of libfuse3's low-level interface: receives requests and calls operations, without handling paths.
 *
 * Callers open /dev/fuse and mount themselves; fuse_session_mount() accepts `/dev/fd/N`. A thread has at most one
 * session at a time: callbacks run inside {@link FuseSessionHandle.process}, on the thread that created them.
 *
 * An operation either answers with a reply function of libfuse3.ts and returns 0, keeps the request for later and
 * returns 0, or returns an errno. An exception becomes EIO and is passed to {@link FuseOperations.failed}; no exception
 * ever reaches C.
 *
 * Source: fuse_lowlevel.h of libfuse 3.14.0 and 3.17.2.
 *
 * @module
 */
import { ERRNO, isErrno } from "./errno.ts";
import { Fd, redirect } from "./fd.ts";
import { allowIdmap, hasIdmap } from "./fuse_kernel.ts";
import { cstring } from "./libc.ts";
import { type FuseRequest, libfuse, libfuseVersion, replyError, so3New, so4New } from "./libfuse3.ts";
import { CONN_INFO, FUSE_ARGS, FUSE_BUF, FUSE_CAP, LIBFUSE_VERSION_SIZE, OPERATION_ORDER } from "./libfuse3_layout.ts";
import { memfdCreate } from "./sys_mman.ts";
import { pread, write } from "./unistd.ts";

/** One method per kind of request; see the module comment for return values. Node ids are u64. */
export interface FuseOperations {
  lookup(request: FuseRequest, parent: bigint, name: Uint8Array): number;
  /** The kernel dropped `count` references to `node`. There is no reply. */
  forget(node: bigint, count: number): void;
  getattr(request: FuseRequest, node: bigint): number;
  readlink(request: FuseRequest, node: bigint): number;
  open(request: FuseRequest, node: bigint): number;
  read(request: FuseRequest, node: bigint, size: number, offset: number): number;
  opendir(request: FuseRequest, node: bigint): number;
  readdir(request: FuseRequest, node: bigint, size: number, offset: number): number;
  readdirplus(request: FuseRequest, node: bigint, size: number, offset: number): number;
  statfs(request: FuseRequest, node: bigint): number;
  /** `size` 0 asks for the length of the value. */
  getxattr(request: FuseRequest, node: bigint, name: Uint8Array, size: number): number;
  listxattr(request: FuseRequest, node: bigint, size: number): number;
  /** Called when an operation threw; the requester gets EIO. */
  failed(operation: string, node: bigint, error: unknown): void;
}

/** Values that the session negotiates at INIT. */
export interface ConnectionOptions {
  /** Maximum bytes of a READ: the mount's max_read, at most 1 MiB. */
  readonly maxRead: number;
  /** Maximum asynchronous requests (read-ahead) in flight. */
  readonly maxBackground: number;
}

/** Maximum bytes of a request or reply to negotiate: 256 pages, which the kernel allows without a sysctl. */
const MAX_WRITE = 1 << 20;
/** Bytes that fuse_session_receive_buf() may write: max_write plus FUSE_BUFFER_HEADER_SIZE. */
export const RECEIVE_BUFFER_SIZE = MAX_WRITE + 0x1000;
/** More than the reply to INIT has in any version: 80 bytes in 7.45. */
const INIT_REPLY_MAX = 512;

/** Never requested: data are invalidated only by notices, and a spliced request would not be in the request buffer. */
const UNWANTED = FUSE_CAP.spliceRead | FUSE_CAP.spliceWrite | FUSE_CAP.spliceMove | FUSE_CAP.autoInvalData;
const WANTED = FUSE_CAP.asyncRead | FUSE_CAP.asyncDio | FUSE_CAP.parallelDirops | FUSE_CAP.cacheSymlinks |
  FUSE_CAP.readdirplus | FUSE_CAP.readdirplusAuto;

/** The open session of this thread, used by the callbacks below. */
let current: FuseSessionHandle | undefined;

/** Runs one operation and ensures that the request gets a reply. */
function dispatch(name: string, request: FuseRequest, node: bigint, run: (ops: FuseOperations) => number): void {
  if (current === undefined) return;
  let error: number;
  try {
    error = run(current.operations);
  } catch (thrown) {
    error = ERRNO.EIO;
    current.report(name, node, thrown);
  }
  if (error !== 0) replyError(request, error);
}

/** Bytes of a NUL-terminated name to which libfuse points. It always lies inside the request buffer. */
function nameAt(address: bigint): Uint8Array {
  if (current === undefined) throw new Error("Cannot read name: no session");
  const { bytes, address: base } = current.buffer;
  const start = Number(address - base);
  const end = start >= 0 && start < bytes.length ? bytes.indexOf(0, start) : -1;
  if (end < 0) throw new RangeError("Cannot read name: outside the request buffer");
  return bytes.subarray(start, end);
}

const node2 = { parameters: ["u64", "u64"], result: "void" } as const; // (fuse_req_t, fuse_ino_t, …)
const node3 = { parameters: ["u64", "u64", "u64"], result: "void" } as const; // (fuse_req_t, fuse_ino_t, const char * or uint64_t)
const range4 = { parameters: ["u64", "u64", "usize", "i64"], result: "void" } as const; // (fuse_req_t, fuse_ino_t, size_t, off_t, …)

type Ranged = "read" | "readdir" | "readdirplus";
const ranged = (op: Ranged) =>
  new Deno.UnsafeCallback(
    range4,
    (request, node, size, offset) =>
      dispatch(op, request, node, (ops) => ops[op](request, node, Number(size), Number(offset))),
  );

type NodeOnly = "getattr" | "readlink" | "open" | "opendir" | "statfs";
const nodeOnly = (op: NodeOnly) =>
  new Deno.UnsafeCallback(node2, (request, node) => dispatch(op, request, node, (ops) => ops[op](request, node)));

/** The used part of Deno.UnsafeCallback, whose own type includes the signature. */
interface Callback {
  readonly pointer: Deno.PointerObject;
  close(): void;
}

/** Write operations. Their further arguments are ignored, so one callback serves every signature. */
const REFUSED = [
  ..."setattr mknod mkdir unlink rmdir symlink rename link write setxattr removexattr create fallocate".split(" "),
  "copy_file_range",
];

/** Creates one callback per operation, for one session. */
function makeCallbacks(): Map<string, Callback> {
  const callbacks = new Map<string, Callback>();
  for (const op of ["read", "readdir", "readdirplus"] as const) callbacks.set(op, ranged(op));
  for (const op of ["getattr", "readlink", "open", "opendir", "statfs"] as const) callbacks.set(op, nodeOnly(op));
  callbacks.set("init", onInit());
  callbacks.set("lookup", onLookup());
  callbacks.set("forget", onForget());
  callbacks.set("forget_multi", onForgetMulti());
  callbacks.set("getxattr", onGetxattr());
  callbacks.set("listxattr", onListxattr());
  const refuse = always(ERRNO.EROFS);
  for (const op of REFUSED) callbacks.set(op, refuse);
  callbacks.set("flush", always(ERRNO.ENOSYS)); // the kernel asks only once; nothing is ever written back
  return callbacks;
}

// void (*init)(void *userdata, struct fuse_conn_info *conn)
const onInit = () =>
  new Deno.UnsafeCallback({ parameters: ["pointer", "pointer"], result: "void" }, (_userdata, conn) => {
    if (conn === null) return;
    current?.negotiate(new DataView(Deno.UnsafePointerView.getArrayBuffer(conn, CONN_INFO.SIZE)));
  });

const onLookup = () =>
  new Deno.UnsafeCallback(
    node3,
    (request, node, name) => dispatch("lookup", request, node, (ops) => ops.lookup(request, node, nameAt(name))),
  );

// void (*forget)(fuse_req_t, fuse_ino_t, uint64_t nlookup)
const onForget = () =>
  new Deno.UnsafeCallback(node3, (request, node, count) => {
    forget(node, Number(count));
    libfuse().symbols.fuse_reply_none(request);
  });

// void (*forget_multi)(fuse_req_t, size_t count, struct fuse_forget_data *forgets); the struct is {u64 ino, u64 nlookup}
const onForgetMulti = () =>
  new Deno.UnsafeCallback({ parameters: ["u64", "usize", "pointer"], result: "void" }, (request, count, forgets) => {
    if (forgets !== null) {
      const pairs = new BigUint64Array(Deno.UnsafePointerView.getArrayBuffer(forgets, Number(count) * 16));
      for (let i = 0; i + 1 < pairs.length; i += 2) forget(pairs[i] as bigint, Number(pairs[i + 1]));
    }
    libfuse().symbols.fuse_reply_none(request);
  });

// void (*getxattr)(fuse_req_t, fuse_ino_t, const char *name, size_t size)
const onGetxattr = () =>
  new Deno.UnsafeCallback(
    { parameters: ["u64", "u64", "u64", "usize"], result: "void" },
    (request, node, name, size) =>
      dispatch("getxattr", request, node, (ops) => ops.getxattr(request, node, nameAt(name), Number(size))),
  );

// void (*listxattr)(fuse_req_t, fuse_ino_t, size_t size)
const onListxattr = () =>
  new Deno.UnsafeCallback(
    { parameters: ["u64", "u64", "usize"], result: "void" },
    (request, node, size) => dispatch("listxattr", request, node, (ops) => ops.listxattr(request, node, Number(size))),
  );

/** Answers every request with one errno, whatever its further arguments are. */
const always = (errno: number) =>
  new Deno.UnsafeCallback({ parameters: ["u64"], result: "void" }, (request) => {
    replyError(request, errno);
  });

function forget(node: bigint, count: number): void {
  try {
    current?.operations.forget(node, count);
  } catch (error) {
    current?.report("forget", node, error);
  }
}

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
}

/** Memory into which the kernel writes requests: {@link RECEIVE_BUFFER_SIZE} bytes that outlive the session. */
export interface RequestBuffer {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/**
 * The session of this thread.
 *
 * ```ts
 * using session = FuseSessionHandle.open(fd, buffer, operations, { maxRead: 1 << 20, maxBackground: 64 });
 * session.initialize(initRequest);
 * while (session.receive() > 0) session.process();
 * ```
 */
export class FuseSessionHandle implements Disposable {
  #session: bigint;
  readonly #fuseBuf: DataView;
  readonly #fuseBufBytes: Uint8Array<ArrayBuffer>;
  /** Referenced because libfuse calls through them until the session is destroyed. */
  readonly #callbacks: Map<string, Callback>;
  #capable = 0;

  private constructor(
    session: bigint,
    callbacks: Map<string, Callback>,
    /** Number of the device, which libfuse closes. */
    private readonly device: number,
    readonly buffer: RequestBuffer,
    readonly operations: FuseOperations,
    private readonly options: ConnectionOptions,
  ) {
    this.#session = session;
    this.#callbacks = callbacks;
    this.#fuseBufBytes = new Uint8Array(libfuse().layout.fuseBuf);
    this.#fuseBuf = new DataView(this.#fuseBufBytes.buffer);
    current = this;
  }

  /**
   * Opens a session on an open /dev/fuse that is already mounted.
   *
   * @param fd owned and closed by the session
   */
  static open(
    fd: number,
    buffer: RequestBuffer,
    operations: FuseOperations,
    options: ConnectionOptions,
  ): FuseSessionHandle {
    if (current !== undefined) throw new Error("Cannot open FUSE session: this thread has one");
    if (buffer.bytes.length < RECEIVE_BUFFER_SIZE) {
      throw new RangeError("Cannot open FUSE session: request buffer too small");
    }
    const callbacks = makeCallbacks();
    const session = newSession(callbacks, options.maxRead);
    if (session === 0n || libfuse().symbols.fuse_session_mount(session, cstring(`/dev/fd/${fd}`)) !== 0) {
      if (session !== 0n) libfuse().symbols.fuse_session_destroy(session);
      for (const callback of new Set(callbacks.values())) callback.close();
      throw new Error(`Cannot open FUSE session: ${libfuseVersion()} refused it`);
    }
    return new FuseSessionHandle(session, callbacks, fd, buffer, operations, options);
  }

  /** Address of the struct fuse_session, for notices from other threads. */
  get address(): bigint {
    return this.#session;
  }

  /** FUSE_CAP_* bits that the kernel offered at INIT. */
  get capable(): number {
    return this.#capable;
  }

  /**
   * Waits for the next request and reads it into the request buffer.
   *
   * @returns its length; 0 when the mount is gone; otherwise a negative errno (-EINTR, -EAGAIN: try again)
   */
  receive(): number {
    this.#point(this.buffer.address, RECEIVE_BUFFER_SIZE);
    return libfuse().symbols.fuse_session_receive_buf(this.#session, this.#fuseBufBytes);
  }

  /** Processes the request read by {@link receive}. */
  process(): void {
    libfuse().symbols.fuse_session_process_buf(this.#session, this.#fuseBufBytes);
  }

  /** Processes a request of `length` bytes that another process has received into the request buffer. */
  processStored(length: number): void {
    this.#point(this.buffer.address, length);
    this.process();
  }

  /**
   * Processes a stored INIT as if it had just been received. Must precede every other request.
   *
   * libfuse does not ask for idmapped mounts, so its reply goes to a file in memory, and to the kernel from there.
   */
  initialize(init: Uint8Array<ArrayBuffer>): void {
    using written = memfdCreate("nydus-gd-init-reply");
    const owned = Fd.own(this.device);
    using device = owned.duplicate();
    owned.release();
    redirect(this.device, written);
    try {
      this.#point(addressOf(init), init.length);
      this.process();
    } finally {
      redirect(this.device, device);
    }
    const space = new Uint8Array(INIT_REPLY_MAX);
    const reply = space.subarray(0, pread(written, space, 0));
    if (hasIdmap(init)) allowIdmap(reply);
    try {
      write(device, reply);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error; // another session of this mount has replied
    }
  }

  /** Fills struct fuse_conn_info. libfuse calls this while it processes INIT. */
  negotiate(conn: DataView): void {
    this.#capable = conn.getUint32(CONN_INFO.capable, true);
    const want = (conn.getUint32(CONN_INFO.want, true) | WANTED) & this.#capable & ~UNWANTED;
    conn.setUint32(CONN_INFO.want, want >>> 0, true);
    conn.setUint32(CONN_INFO.maxWrite, MAX_WRITE, true);
    conn.setUint32(CONN_INFO.maxRead, this.options.maxRead, true);
    conn.setUint32(CONN_INFO.maxBackground, this.options.maxBackground, true);
    conn.setUint32(CONN_INFO.congestionThreshold, Math.ceil(this.options.maxBackground * 3 / 4), true);
  }

  /**
   * Reports an exception of an operation. An exception of the report itself is only logged, because the caller is C.
   */
  report(operation: string, node: bigint, error: unknown): void {
    try {
      this.operations.failed(operation, node, error);
    } catch (second) {
      console.error(`nydus-gd: cannot report failed ${operation}: ${second}`);
    }
  }

  /** Destroys the session and closes its descriptor. Every request must have been answered. */
  [Symbol.dispose](): void {
    if (this.#session === 0n) return;
    libfuse().symbols.fuse_session_destroy(this.#session);
    this.#session = 0n;
    current = undefined;
    for (const callback of new Set(this.#callbacks.values())) callback.close();
  }

  #point(address: bigint, size: number): void {
    this.#fuseBuf.setBigUint64(FUSE_BUF.size, BigInt(size), true);
    this.#fuseBuf.setBigUint64(FUSE_BUF.flags, 0n, true);
    this.#fuseBuf.setBigUint64(FUSE_BUF.mem, address, true);
    if (this.#fuseBuf.byteLength > FUSE_BUF.memSize) this.#fuseBuf.setBigUint64(FUSE_BUF.memSize, BigInt(size), true);
  }
}

function newSession(callbacks: Map<string, Callback>, maxRead: number): bigint {
  const { layout, version } = libfuse();
  const table = new BigUint64Array(layout.operations);
  OPERATION_ORDER.forEach((op, index) => {
    const callback = callbacks.get(op);
    if (callback !== undefined) table[index] = BigInt(Deno.UnsafePointer.value(callback.pointer));
  });
  // max_read must be equal here, in the mount options and in conn.max_read; otherwise libfuse answers EPROTO.
  const argv = [cstring("nydus-gd"), cstring(`-omax_read=${maxRead}`)];
  const pointers = new BigUint64Array([...argv.map(addressOf), 0n]);
  const args = new DataView(new ArrayBuffer(FUSE_ARGS.SIZE));
  args.setInt32(FUSE_ARGS.argc, argv.length, true);
  args.setBigUint64(FUSE_ARGS.argv, addressOf(new Uint8Array(pointers.buffer)), true);
  const argsBytes = new Uint8Array(args.buffer);
  const tableBytes = new Uint8Array(table.buffer);
  const tableSize = BigInt(tableBytes.length);
  try {
    if (layout.soname === "libfuse3.so.3") return so3New().fuse_session_new(argsBytes, tableBytes, tableSize, null);
    const parts = version.split(".").map((part) => Number.parseInt(part, 10) || 0);
    const built = new Uint8Array(new Uint32Array([3, parts[1] ?? 0, parts[2] ?? 0, 0]).buffer, 0, LIBFUSE_VERSION_SIZE);
    return so4New().fuse_session_new_versioned(argsBytes, tableBytes, tableSize, built, null);
  } finally {
    libfuse().symbols.fuse_opt_free_args(argsBytes);
  }
}

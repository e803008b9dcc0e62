import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { O, open } from "./fcntl.ts";
import { encodePollFds, POLL, poll, pollNonblocking } from "./poll.ts";
import { ioctl } from "./sys_ioctl.ts";
import { mknodat, S } from "./sys_stat.ts";
import { writeAll } from "./unistd.ts";
import { isErrno } from "./errno.ts";

/** A named pipe that is open at both ends. */
function pipe(temp: TempDir) {
  using dir = open(temp.path, O.PATH);
  mknodat(dir, "pipe", S.IFIFO | 0o600, 0);
  return open(temp.join("pipe"), O.RDWR);
}

const BYTE = new Uint8Array([1]);
/** asm-generic/ioctls.h: number of bytes that can be read. */
const FIONREAD = 0x541bn;

Deno.test("struct pollfd is laid out as asm-generic/poll.h says", () => {
  assert.deepEqual(
    encodePollFds([{ fd: 258, events: POLL.IN | POLL.OUT }, { fd: -1, events: 0 }]),
    goldenBytes(`
      02 01 00 00   fd 258
      05 00         events POLLIN | POLLOUT
      00 00         revents
      ff ff ff ff   fd -1: ignored by the kernel
      00 00         events
      00 00         revents
    `),
  );
});

Deno.test("poll reports which descriptor is ready for which events", () => {
  using temp = TempDir.make();
  using fd = pipe(temp);
  using empty = open("/dev/null", O.RDONLY);
  assert.deepEqual(poll([{ fd, events: POLL.IN }], 0), [0]);
  writeAll(fd, BYTE);
  const entries = [{ fd, events: POLL.IN | POLL.OUT }, { fd: empty, events: POLL.OUT }, { fd: 1 << 20, events: 0 }];
  assert.deepEqual(poll(entries, -1), [POLL.IN | POLL.OUT, POLL.OUT, POLL.NVAL]);
});

Deno.test("a nonblocking poll resolves when the descriptor is ready", async () => {
  using temp = TempDir.make();
  using fd = pipe(temp);
  const waiting = pollNonblocking([{ fd, events: POLL.IN }], -1);
  writeAll(fd, BYTE);
  assert.deepEqual(await waiting, [POLL.IN]);
});

Deno.test("a nonblocking poll ends on timeout and on abort", async () => {
  using temp = TempDir.make();
  using fd = pipe(temp);
  assert.deepEqual(await pollNonblocking([{ fd, events: POLL.IN }], 1), [0]);
  const abort = new AbortController();
  const waiting = pollNonblocking([{ fd, events: POLL.IN }], -1, abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  await assert.rejects(pollNonblocking([{ fd, events: POLL.IN }], -1, abort.signal), /enough/);
});

Deno.test("ioctl fills buffers and accepts plain values", () => {
  using temp = TempDir.make();
  using fd = pipe(temp);
  writeAll(fd, new Uint8Array(7));
  const count = new Uint8Array(4);
  assert.equal(ioctl(fd, FIONREAD, count), 0);
  assert.deepEqual([...count], [7, 0, 0, 0]);
  using file = open("/dev/null", O.RDONLY);
  assert.throws(() => ioctl(file, 0x1234n, 5), { message: `Cannot ioctl 0x1234 "fd ${file.raw}": ENOTTY` });
  assert.throws(() => ioctl(1 << 20, FIONREAD, 0), (e) => isErrno(e, "EBADF"));
});

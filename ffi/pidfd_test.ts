import assert from "node:assert/strict";
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { procFdPath } from "./fd.ts";
import { pidfdGetfd, pidfdOpen, pidfdSendSignal, SIGNAL } from "./pidfd.ts";
import { POLL, pollNonblocking } from "./poll.ts";

Deno.test("a descriptor of another process is duplicated, and the end of that process is reported", async () => {
  using file = open("/dev/null", O.RDONLY);
  file.setCloseOnExec(false);
  const child = new Deno.Command("sleep", { args: ["infinity"] }).spawn();
  file.setCloseOnExec(true);
  using process = pidfdOpen(child.pid);
  {
    using copy = pidfdGetfd(process, file.raw);
    assert.notEqual(copy.raw, file.raw);
    assert.equal(Deno.readLinkSync(procFdPath(copy)), "/dev/null");
  }
  pidfdSendSignal(process, SIGNAL.KILL);
  const [ended = 0] = await pollNonblocking([{ fd: process, events: POLL.IN }], -1);
  assert.equal(ended & POLL.IN, POLL.IN); // also POLLHUP if the process has been reaped
  assert.equal((await child.status).signal, "SIGKILL");
  assert.throws(() => pidfdSendSignal(process, SIGNAL.KILL), (error) => isErrno(error, "ESRCH"));
});

Deno.test("a missing descriptor and a missing process give different errors", () => {
  using self = pidfdOpen(Deno.pid);
  assert.throws(() => pidfdGetfd(self, 1 << 20), (error) => isErrno(error, "EBADF"));
  assert.throws(() => pidfdOpen(2 ** 30), (error) => isErrno(error, "ESRCH", "EINVAL"));
});

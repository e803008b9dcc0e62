import assert from "node:assert/strict";
import { open as openNode } from "node:fs/promises";
import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import { thrownBy } from "../../tests/support/thrown_by.ts";
import { messageOf, NydusGdError } from "./errors.ts";
import { describeError, OPEN_FILES_HINT, READ_ONLY_HINT } from "./error_report.ts";

Deno.test("errors of the runtime and of node's modules are rewritten as Cannot do what: state", async () => {
  const { message } = describeError(await thrownBy(() => Deno.readTextFile("/etc/passwd/x")));
  assert.equal(message, "Cannot readfile /etc/passwd/x: not a directory");
  const ofNode = describeError(await thrownBy(() => openNode("/etc/passwd/x")));
  assert.deepEqual(ofNode, { message: "Cannot open /etc/passwd/x: not a directory", hint: undefined });
});

Deno.test("running out of file descriptors is reported with the limit to raise", () => {
  for (
    const message of ["Too many open files (os error 24): readfile '/x'", "EMFILE: too many open files, readfile '/x'"]
  ) {
    const described = describeError(new Error(message));
    assert.deepEqual(described, { message: "Cannot readfile /x: too many open files", hint: OPEN_FILES_HINT });
  }
});

Deno.test("a read-only file system is reported as such, not by a name that EROFS images have, too", () => {
  const ofCall = describeError(new SyscallError("open", ERRNO.EROFS, "/x/lock"));
  assert.deepEqual(ofCall, {
    message: 'Cannot open "/x/lock": EROFS (read-only file system)',
    hint: READ_ONLY_HINT,
  });
  const ofRuntime = describeError(new Error("Read-only file system (os error 30): writefile '/x'"));
  assert.deepEqual(ofRuntime, { message: "Cannot writefile /x: read-only file system", hint: READ_ONLY_HINT });
});

Deno.test("what the runtime says is the state of a message of ours, without the call that failed", async () => {
  const thrown = await thrownBy(() => Deno.readTextFile("/etc/passwd/x"));
  const error = new NydusGdError("io", `Cannot keep x: ${messageOf(thrown)}`, { hint: "look" });
  assert.deepEqual(describeError(error), { message: "Cannot keep x: Not a directory", hint: "look" });
});

Deno.test("errors that have that form already stay unchanged, with their hint", async () => {
  const error = new NydusGdError("busy", "Cannot mount x: it is in use", { hint: "fuser -vm x" });
  assert.deepEqual(describeError(error), { message: "Cannot mount x: it is in use", hint: "fuser -vm x" });
  const refused = describeError(await thrownBy(() => open("/etc/passwd/x", O.RDONLY)));
  assert.match(refused.message, /^Cannot .*ENOTDIR$/);
});

import { deepEqual, equal, match } from "node:assert/strict";
import { status } from "@grpc/grpc-js";
import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import { writeFailure } from "../../lib/base/disk_full.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { statusOf } from "./status.ts";

Deno.test("a full disk is told as such, whichever interface has met it", async () => {
  await using _quiet = await quietLogs();
  const path = "/dev/full";
  const file = await Deno.open(path, { write: true });
  const ofRuntime = await file.write(new Uint8Array(1)).then(() => undefined, (error) => error);
  file.close();
  const failures = [
    ofRuntime,
    writeFailure(ofRuntime, `write "${path}"`, path),
    new SyscallError("mkdir", ERRNO.ENOSPC, "/x"),
  ];
  deepEqual(failures.map((error) => statusOf("Prepare", error).code), failures.map(() => status.RESOURCE_EXHAUSTED));
  match(statusOf("Commit", failures[1]).details, /^Cannot write "\/dev\/full": the disk of \/dev\/full is full/);
  equal(statusOf("Prepare", new Deno.errors.NotADirectory()).code, status.UNKNOWN);
});

Deno.test("a client gets the code of an error, and its hint behind the message", async () => {
  await using _quiet = await quietLogs();
  deepEqual(statusOf("Prepare", new NydusGdError("unauthorized", "Cannot read x: refused", { hint: "log in" })), {
    code: status.UNAUTHENTICATED,
    details: "Cannot read x: refused (hint: log in)",
  });
  deepEqual(statusOf("Stat", new NydusGdError("not-found", "Cannot find x")), {
    code: status.NOT_FOUND,
    details: "Cannot find x",
  });
});

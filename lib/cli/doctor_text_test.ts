import assert from "node:assert/strict";
import { DoctorText } from "./doctor_text.ts";

const RESULT = {
  group: "kernel",
  name: "FUSE",
  verdict: "fail",
  seen: 'Cannot open "/dev/fuse": there is no such device here',
  mend: "modprobe fuse, and see what it says of the module",
} as const;

Deno.test("a result is one line and one with the fix, whatever its length, where there is no terminal", () => {
  assert.equal(
    new DoctorText({ hasColours: false, columns: undefined }).result(RESULT),
    `
kernel
  FAIL  FUSE                    Cannot open "/dev/fuse": there is no such device here
                                fix: modprobe fuse, and see what it says of the module
`,
  );
});

Deno.test("what could be done about a check that was skipped is not called a fix", () => {
  const shown = new DoctorText({ hasColours: false, columns: undefined }).result({ ...RESULT, verdict: "skipped" });
  assert.match(shown, /^ {2}- {5}FUSE .*\n +try: modprobe fuse/m);
});

Deno.test("on a terminal texts are wrapped between words, below each other", () => {
  const shown = new DoctorText({ hasColours: false, columns: 80 }).result(RESULT);
  assert.equal(
    shown,
    `
kernel
  FAIL  FUSE                    Cannot open "/dev/fuse": there is no such device
                                here
                                fix: modprobe fuse, and see what it says of the
                                module
`,
  );
  assert.equal(
    new DoctorText({ hasColours: false, columns: 20 }).result({ ...RESULT, seen: "x".repeat(90) }).split("\n")[2]
      ?.length,
    122,
  );
});

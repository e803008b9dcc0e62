import assert from "node:assert/strict";
import { parseMountinfo } from "../../ffi/mountinfo.ts";
import { controlGroupLimits, groupFolders } from "./control_groups.ts";

const MOUNTS = parseMountinfo(`30 23 0:27 / /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate
31 23 0:28 / /cg/memory rw - cgroup cgroup rw,memory
32 23 0:29 /docker/0a /cg/pids rw - cgroup cgroup rw,pids
33 23 0:30 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct`);

Deno.test("the groups of a process are found up to the mounted root, in both versions", () => {
  const cgroup = "9:memory:/system.slice/x.service\n4:cpu,cpuacct:/\n0::/user.slice\n";
  assert.deepEqual(groupFolders(cgroup, MOUNTS), [
    "/cg/memory/system.slice/x.service",
    "/cg/memory/system.slice",
    "/cg/memory",
    "/cg/cpu",
    "/cg/unified/user.slice",
    "/cg/unified",
  ]);
});

Deno.test("of a container that sees its own group only, that one is found", () => {
  assert.deepEqual(groupFolders("8:pids:/docker/0a\n", MOUNTS), ["/cg/pids"]);
  assert.deepEqual(groupFolders("8:pids:/docker/0a/inner\n", MOUNTS), ["/cg/pids/inner", "/cg/pids"]);
  assert.deepEqual(groupFolders("0::/../other\n", MOUNTS), ["/cg/unified"]);
});

Deno.test("a hierarchy that is not mounted, and a process that has ended, have no limits", () => {
  assert.deepEqual(groupFolders("5:devices:/x\n", MOUNTS), []);
  assert.deepEqual(controlGroupLimits(2 ** 22 + 1), {});
});

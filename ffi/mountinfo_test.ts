import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { isAtOrBelow, parseMountinfo, parseMountsBelow, readMountinfo, unescapeMountField } from "./mountinfo.ts";

const LINE = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue";

Deno.test("every field of a line is parsed, with any number of optional fields", () => {
  const expected = {
    mountId: 36,
    parentId: 35,
    device: "98:0",
    root: "/mnt1",
    mountPoint: "/mnt2",
    options: "rw,noatime",
    fsType: "ext3",
    source: "/dev/root",
    superOptions: "rw,errors=continue",
  };
  deepEqual(parseMountinfo(LINE + "\n"), [expected]);
  deepEqual(parseMountinfo(LINE.replace("master:1 propagate_from:2 ", "")), [expected]);
});

Deno.test("a mount point named '-' is not taken for the separator", () => {
  const [mount] = parseMountinfo("1 2 0:5 / /- rw - overlay - rw");
  equal(mount?.mountPoint, "/-");
  equal(mount?.source, "-");
});

Deno.test("octal escapes are decoded", () => {
  equal(unescapeMountField("/a\\040b\\011c\\012d\\134e"), "/a b\tc\nd\\e");
  equal(unescapeMountField("/a\\1340"), "/a\\0");
  equal(unescapeMountField("/latest:1\\"), "/latest:1\\");
});

Deno.test("any name is decoded from the kernel's escapes unchanged", () => {
  const kernel = (name: string) =>
    name.replace(/[ \t\n\\#]/g, (c) => "\\" + c.charCodeAt(0).toString(8).padStart(3, "0"));
  fc.assert(fc.property(fc.string(), (name) => unescapeMountField(kernel(name)) === name));
});

Deno.test("arbitrary text yields no mount and does not crash", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    for (const mount of parseMountinfo(text)) equal(typeof mount.mountPoint, "string");
  }));
});

Deno.test("mounts below a folder are told apart from those with the same name prefix", () => {
  equal(isAtOrBelow("/a/b", "/a"), true);
  equal(isAtOrBelow("/a", "/a"), true);
  equal(isAtOrBelow("/ab", "/a"), false);
  equal(isAtOrBelow("/a", "/"), true);
});

Deno.test("the running system has mounts at / and /proc", () => {
  const points = readMountinfo().map((mount) => mount.mountPoint);
  equal(points.includes("/proc"), true);
});

Deno.test("of a whole table only what is below a folder is parsed, whatever its name", () => {
  const kernel = (name: string) =>
    name.replace(/[ \t\n\\]/g, (c) => "\\" + c.charCodeAt(0).toString(8).padStart(3, "0"));
  const segment = fc.string({ minLength: 1, unit: fc.constantFrom("a", "b", " ", "\\", "\n", "\t", "ä", "-", "0") });
  const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
  fc.assert(fc.property(fc.array(path), path, (points, folder) => {
    const text = points.map((point, id) => `${id} 1 0:5 / ${kernel(point)} rw - tmpfs ${kernel(folder)} rw\n`).join("");
    const all = parseMountinfo(text);
    deepEqual(all.map(({ mountPoint }) => mountPoint), points);
    deepEqual(parseMountsBelow(text, folder), all.filter(({ mountPoint }) => isAtOrBelow(mountPoint, folder)));
  }));
});

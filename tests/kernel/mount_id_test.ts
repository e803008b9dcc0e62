import { deepEqual, equal } from "node:assert/strict";
import { O, open } from "../../ffi/fcntl.ts";
import { mountAt, mountIdAt, mountsBelow } from "../../ffi/mountinfo.ts";
import { mount, MS } from "../../ffi/sys_mount.ts";
import { removeTree } from "../../lib/base/remove_tree.ts";
import { mountingTest as test } from "../support/mount/unmount_below.ts";

test("the id of a mount is that of the mount table, and of two mounts at one place that of the topmost", (dir) => {
  const place = `${dir}/a folder`;
  equal(mountIdAt(place), undefined);
  Deno.mkdirSync(`${place}/inside`, { recursive: true });
  equal(mountIdAt(place), undefined);
  const ids = ["one", "two"].map((name) => {
    mount(name, place, "tmpfs", 0);
    equal(mountIdAt(place), mountAt(place)?.mountId);
    return mountIdAt(place);
  });
  deepEqual(mountsBelow(place).map(({ mountId, source }) => [mountId, source]), [[ids[0], "one"], [ids[1], "two"]]);
  equal(mountIdAt(`${place}/inside`), undefined);
  Deno.mkdirSync(`${place}/folder`);
  Deno.writeTextFileSync(`${place}/file`, "");
  deepEqual(["folder", "file", "file/below"].map((name) => mountIdAt(`${place}/${name}`)), [
    undefined,
    undefined,
    undefined,
  ]);
});

test("a link to a mount is no mount", (dir) => {
  Deno.mkdirSync(`${dir}/place`);
  mount("one", `${dir}/place`, "tmpfs", 0);
  Deno.symlinkSync("place", `${dir}/link`);
  equal(mountIdAt(`${dir}/link`), undefined);
});

test("neither the id of a mount nor the refusal to delete it waits for a server that never answers", async (dir) => {
  const place = `${dir}/silent`;
  Deno.mkdirSync(place);
  using device = open("/dev/fuse", O.RDWR);
  mount("silent", place, "fuse", MS.RDONLY, `fd=${device.raw},rootmode=40000,user_id=0,group_id=0,allow_other`);
  equal(mountIdAt(place), mountAt(place)?.mountId);
  const refusal = await removeTree(place).catch(String);
  equal(refusal, `NydusGdError: Cannot delete "${place}": fuse is mounted at "${place}"`);
});

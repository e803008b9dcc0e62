import { deepEqual, rejects } from "node:assert/strict";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { MountRecord } from "./mount_record.ts";

const LAYER = { id: "a", bootstrapPath: "/a/image.boot", home: "/home" };
const FACTS = { fsDriver: "fuse", isSuspect: false, number: 3 } as const;

Deno.test("a successor that goes on with an image writes nothing, so a full disk is not in its way", async () => {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("state"));
  const path = temp.join("state/mounted.json");
  await (await MountRecord.open(path)).add(LAYER, FACTS);
  const record = await MountRecord.open(path);
  await Deno.remove(temp.join("state"), { recursive: true }); // no file can be written there
  await record.add(LAYER, FACTS);
  await rejects(record.add(LAYER, { ...FACTS, isSuspect: true }), { code: "ENOENT" });
  deepEqual(record.list(), [{ ...LAYER, ...FACTS }]);
});

import assert from "node:assert/strict";
import { listRafsFixtures, readFixtureBootstrap } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { deviceNamesIn, nameDevices } from "./device_names.ts";
import { makeErofsImage } from "./erofs_image.ts";
import { openBootstrap } from "../open.ts";

const LONGEST = "f".repeat(64);

for (const name of ["v5-lz4-sha256-64k", "v6-layers-merged"]) {
  Deno.test(`devices are named after their blobs until they are renamed (${name})`, async () => {
    const fixture = listRafsFixtures().find((one) => one.name === name) ?? assert.fail(name);
    const tree = openBootstrap(await readFixtureBootstrap(fixture));
    const { bytes, devices } = makeErofsImage(tree);
    const before = bytes.slice();
    assert.deepEqual(deviceNamesIn(bytes), devices.map(({ blobIndex }) => tree.blobs[blobIndex]?.id));
    for (const names of [devices.map(() => LONGEST), devices.map((_, index) => `short ${index}`)]) {
      nameDevices(bytes, names);
      assert.deepEqual(deviceNamesIn(bytes), names);
    }
    nameDevices(bytes, deviceNamesIn(before));
    assert.deepEqual(bytes, before, "only names change");
    for (const names of [["one too many"], [""], ["f".repeat(65)], ["a\0b"]]) {
      const all = names[0] === "one too many"
        ? [...deviceNamesIn(before), ...names]
        : devices.map(() => names[0] ?? "");
      assert.throws(() => nameDevices(bytes, all), /Cannot write RAFS v6/);
    }
  });
}

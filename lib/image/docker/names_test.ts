import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DockerNames } from "./names.ts";

const ONE = "1".repeat(64), TWO = "2".repeat(64);
const LAYER = `sha256:${"a".repeat(64)}`;

async function writeImages(dir: string): Promise<void> {
  const content = `${dir}/imagedb/content/sha256`;
  await Deno.mkdir(content, { recursive: true });
  const config = (...diffIds: string[]) =>
    JSON.stringify({ os: "linux", rootfs: { type: "layers", diff_ids: diffIds } });
  await Deno.writeTextFile(`${content}/${ONE}`, config(LAYER, "sha256:b"));
  await Deno.writeTextFile(`${content}/${TWO}`, config("sha256:c"));
  const repositories = {
    "reg:5000/app": {
      "reg:5000/app:2": `sha256:${ONE}`,
      "reg:5000/app:1": `sha256:${ONE}`,
      [`reg:5000/app@sha256:${"d".repeat(64)}`]: `sha256:${ONE}`,
    },
    other: {
      "other:latest": `sha256:${TWO}`,
      "gone:latest": `sha256:${"3".repeat(64)}`,
      "odd:1": "../../../etc/passwd",
    },
  };
  await Deno.writeTextFile(`${dir}/repositories.json`, JSON.stringify({ Repositories: repositories }));
}

const namesOf = async (names: DockerNames, dir: string, ...layers: string[]) =>
  Object.fromEntries(await names.of(dir, new Set(layers)));

Deno.test("a layer has the tags of the images that use it", async () => {
  using temp = TempDir.make();
  await writeImages(temp.path);
  const names = new DockerNames();
  const expected = { [LAYER]: ["reg:5000/app:1", "reg:5000/app:2"], "sha256:c": ["other:latest"] };
  assert.deepEqual(await namesOf(names, temp.path, LAYER, "sha256:c", "sha256:none"), expected);
  assert.deepEqual(await namesOf(names, temp.path), {});
  await Deno.writeTextFile(temp.join("repositories.json"), JSON.stringify({ Repositories: {} }));
  assert.deepEqual(await namesOf(names, temp.path, LAYER), {});
});

Deno.test("missing, damaged and unknown files yield no names", async () => {
  using temp = TempDir.make();
  const names = new DockerNames();
  assert.deepEqual(await namesOf(names, temp.path, LAYER), {});
  await writeImages(temp.path);
  await Deno.writeTextFile(temp.join(`imagedb/content/sha256/${ONE}`), '{"rootfs": 1}');
  assert.deepEqual(await namesOf(names, temp.path, LAYER), {});
  for (const text of ["", "[1]", '{"Repositories": {"a": 1}}']) {
    await Deno.writeTextFile(temp.join("repositories.json"), text);
    assert.deepEqual(await namesOf(names, temp.path, LAYER), {}, text);
  }
});

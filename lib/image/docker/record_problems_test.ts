import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { chainOf } from "./layers.ts";
import { recordProblems } from "./record_problems.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const [BASE, TOP] = [digest("a"), digest("b")];
const TOP_CHAIN = chainOf(BASE, TOP);
const IMAGE = "1".repeat(64);

/** Docker's records of an image of two layers, and the layers. */
class Records implements Disposable {
  readonly temp = TempDir.make();
  readonly record = this.temp.join(`image/layerdb/sha256/${TOP_CHAIN}`);
  readonly config = this.temp.join(`image/imagedb/content/sha256/${IMAGE}`);

  constructor() {
    this.write(`layerdb/sha256/${BASE.slice(7)}`, { "cache-id": "base", diff: BASE, size: "1" });
    this.write(`layerdb/sha256/${TOP_CHAIN}`, {
      ...{ "cache-id": "top", diff: TOP, parent: `sha256:${BASE.slice(7)}`, size: "0" },
    });
    this.write(`layerdb/sha256/${TOP_CHAIN}-1-removing`, { "cache-id": "removed" });
    this.write("imagedb/content/sha256", { [IMAGE]: JSON.stringify({ rootfs: { diff_ids: [BASE, TOP] } }) });
    this.write("imagedb/content/sha256", { other: JSON.stringify({ rootfs: { diff_ids: [BASE] } }), damaged: "{" });
    for (const id of ["base", "top"]) Deno.mkdirSync(this.temp.join(`home/${id}`), { recursive: true });
  }

  write(folder: string, files: Record<string, string>): void {
    const path = this.temp.join(`image/${folder}`);
    Deno.mkdirSync(path, { recursive: true });
    for (const [name, text] of Object.entries(files)) Deno.writeTextFileSync(`${path}/${name}`, text);
  }

  problems() {
    return recordProblems(this.temp.join("image"), this.temp.join("home"));
  }

  [Symbol.dispose](): void {
    this.temp[Symbol.dispose]();
  }
}

Deno.test("records of Docker that it can read, of layers that are there, are no problem", async () => {
  using records = new Records();
  assert.deepEqual(await records.problems(), []);
  assert.deepEqual(await recordProblems(records.temp.join("none"), records.temp.join("home")), []);
});

Deno.test("a record that Docker cannot read is named, with what has to be moved away", async () => {
  for (
    const [file, text, what] of [
      ["cache-id", "", "cache-id names no layer"],
      ["diff", TOP.slice(0, 20), "diff and parent are not those of this layer"],
      ["diff", undefined, "diff and parent are not those of this layer"],
      ["parent", undefined, "diff and parent are not those of this layer"],
      ["size", "\0", "size is no number"],
      ["size", undefined, "size is no number"],
    ] as const
  ) {
    using records = new Records();
    if (text === undefined) Deno.removeSync(`${records.record}/${file}`);
    else Deno.writeTextFileSync(`${records.record}/${file}`, text);
    assert.deepEqual(await records.problems(), [{
      message: `Docker's record of a layer is damaged: ${what} in ${records.record}`,
      remedy: `systemctl stop docker; mv ${records.record} ${records.config} FOLDER; systemctl start docker; ` +
        "then pull the images of this layer again",
    }]);
  }
});

Deno.test("a layer that is gone is named, with the images to remove", async () => {
  using records = new Records();
  Deno.removeSync(records.temp.join("home/top"));
  assert.deepEqual(await records.problems(), [{
    message: `layer top is gone, but ${records.record} names it`,
    remedy: "docker rm the containers, and docker rmi --force the images, of 111111111111; then pull these again",
  }]);
});

Deno.test("a record that is missing is named, with the image that has the layer", async () => {
  using records = new Records();
  Deno.removeSync(records.record, { recursive: true });
  assert.deepEqual(await records.problems(), [{
    message: `Docker's record of a layer is missing: ${records.record}`,
    remedy: `systemctl stop docker; mv ${records.config} FOLDER; systemctl start docker; ` +
      "then pull the images of this layer again",
  }]);
});

import assert from "node:assert/strict";
import { parseSmaps } from "../../ffi/smaps.ts";
import { buildFrom } from "../../tests/support/rafs/built_rafs.ts";
import { file, tarOf } from "../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { hasCode } from "../base/errors.ts";
import { MappedBootstrap } from "./mapped_bootstrap.ts";

const { bytes } = await buildFrom(tarOf(file("f", "text")));

Deno.test("a file that cannot be mapped is refused by name", async () => {
  using temp = TempDir.make();
  await Deno.writeFile(temp.join("empty"), new Uint8Array(0));
  const { success } = await new Deno.Command("mkfifo", { args: [temp.join("pipe")] }).output();
  assert.ok(success);
  const cases = [["none", "not-found"], ["empty/below", "not-found"], ["empty", "invalid-image"], [
    "pipe",
    "invalid-image",
  ], [".", "invalid-image"]] as const;
  for (const [name, code] of cases) {
    assert.throws(() => MappedBootstrap.open(temp.join(name)), (error) => hasCode(error, code), name);
  }
});

Deno.test("a small bootstrap stays in memory when idle, a large one is dropped and loaded again", async () => {
  using temp = TempDir.make();
  await Deno.writeFile(temp.join("image.boot"), bytes);
  for (const [size, stays] of [[bytes.length, true], [17 << 20, false]] as const) {
    await Deno.truncate(temp.join("image.boot"), size);
    using bootstrap = MappedBootstrap.open(temp.join("image.boot"));
    const find = () => bootstrap.tree.lookup(bootstrap.tree.rootIno, new TextEncoder().encode("f"));
    const ino = find();
    assert.notEqual(ino, 0);
    MappedBootstrap.dropPages();
    const areas = parseSmaps(await Deno.readTextFile("/proc/self/smaps"));
    const area = areas.find(({ start }) => start === bootstrap.mapping.address);
    assert.equal((area?.residentBytes ?? 0) > 0, stays);
    assert.equal(find(), ino);
  }
});

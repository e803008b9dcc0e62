import { equal } from "node:assert/strict";
import { bootstrapOf } from "./bootstrap_layer.ts";

async function shapeOf(make: (dir: string) => Promise<unknown>): Promise<string | undefined> {
  const dir = await Deno.makeTempDir();
  try {
    await make(dir);
    return await bootstrapOf(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function put(dir: string, ...names: string[]): Promise<void> {
  for (const name of names) {
    await Deno.mkdir(`${dir}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${dir}/${name}`, "");
  }
}

Deno.test("image/image.boot with nothing beside its folder is a bootstrap layer", async () => {
  equal(await shapeOf((dir) => put(dir, "image/image.boot")), "image/image.boot");
  equal(await shapeOf((dir) => put(dir, "image/image.boot", "image/nydus-gd.json")), "image/image.boot");
  equal(await shapeOf((dir) => put(dir, "image.boot")), "image.boot");
});

Deno.test("any other content is an ordinary layer", async () => {
  equal(await shapeOf(() => Promise.resolve()), undefined);
  equal(await shapeOf((dir) => put(dir, "image/image.boot", "etc/passwd")), undefined);
  equal(await shapeOf((dir) => put(dir, "image.boot", "x")), undefined);
  equal(await shapeOf((dir) => put(dir, "image/other")), undefined);
  equal(await shapeOf((dir) => Deno.mkdir(`${dir}/image/image.boot`, { recursive: true })), undefined);
});

Deno.test("a symbolic link is not a bootstrap, whatever its target", async () => {
  equal(await shapeOf((dir) => Deno.symlink("/etc/passwd", `${dir}/image.boot`)), undefined);
  equal(
    await shapeOf(async (dir) => {
      await Deno.mkdir(`${dir}/image`);
      await Deno.symlink("/etc/passwd", `${dir}/image/image.boot`);
    }),
    undefined,
  );
  equal(await shapeOf((dir) => Deno.symlink("/etc", `${dir}/image`)), undefined);
});

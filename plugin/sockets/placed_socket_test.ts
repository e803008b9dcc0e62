import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { placeSocket } from "./placed_socket.ts";

const listen = (path: string) => Deno.listen({ transport: "unix", path });

Deno.test("a socket that cannot be put in its place leaves nothing beside it", async () => {
  using dir = TempDir.make();
  Deno.mkdirSync(dir.join("s/occupied"), { recursive: true });
  let listener: Disposable | undefined;
  await assert.rejects(placeSocket(dir.join("s"), (early) => listener = listen(early)), Deno.errors.IsADirectory);
  listener?.[Symbol.dispose]();
  await assert.rejects(placeSocket(dir.join("t"), () => assert.fail("cannot listen")), /cannot listen/);
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["s"]);
});

Deno.test("a socket is removed by who placed it, unless another is in its place", async () => {
  using dir = TempDir.make();
  const path = dir.join("s");
  const first = await placeSocket(path, listen), second = await placeSocket(path, listen);
  assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
  await first.remove();
  assert.ok(Deno.statSync(path).isSocket);
  await second.remove();
  await second.remove();
  assert.deepEqual([...Deno.readDirSync(dir.path)], []);
  for (const { listener } of [first, second]) listener.close();
});

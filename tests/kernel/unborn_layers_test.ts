/**
 * First layers of containers that dockerd could not make.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import { storeTest } from "../support/layer/store_home.ts";
import { container, layersIn, lazyLayer, namesIn } from "../support/layer/store_layers.ts";
import { until } from "../support/until.ts";

storeTest(
  "the init layer of a container that cannot be created is removed, as dockerd does not remove it",
  async (home) => {
    const { store, images } = home;
    await lazyLayer(home, "lazy");
    await store.createReadWrite("box-init", { parent: "lazy" });
    images.broken = true;
    await rejects(() => store.get("box-init"), /registry is down/);
    equal(await store.exists("box-init"), false);
    deepEqual(namesIn(`${home.path}/l`).length, 1);
    await store.put("box-init");
    await store.remove("box-init");
  },
);

storeTest("init layers that dockerd forgot are removed when a dockerd starts, mounted or not", async (home) => {
  const { store, images } = home;
  const [made, forgotten, mounted] = ["a", "b", "c"].map((digit) => digit.repeat(64)) as [string, string, string];
  await lazyLayer(home, "lazy");
  await container(store, made, "lazy");
  for (const id of [forgotten, mounted, "other"]) await store.createReadWrite(`${id}-init`, { parent: "lazy" });
  await store.get(`${mounted}-init`);
  await store.beginAnew();
  deepEqual(images.heldBy("lazy"), []);
  deepEqual(layersIn(store.home), [made, `${made}-init`, "lazy", "other-init"]);
});

storeTest(
  "init layers that dockerd forgot are removed while dockerd runs, too; those of containers being created stay",
  async (home) => {
    const { images } = home;
    const id = (digit: string) => digit.repeat(64);
    await lazyLayer(home, "lazy");
    await container(home.store, id("a"), "lazy");
    for (const digit of ["b", "c", "d"]) await home.store.createReadWrite(`${id(digit)}-init`, { parent: "lazy" });
    await home.store.get(`${id("b")}-init`);
    const store = await home.reopen({ unbornAfterMs: 2_000 });
    await store.createReadWrite(`${id("e")}-init`, { parent: "lazy" });
    await until("three are gone", async () => {
      await store.put(`${id("d")}-init`); // a call names it
      return !await store.exists(`${id("b")}-init`) && !await store.exists(`${id("c")}-init`) &&
        !await store.exists(`${id("e")}-init`);
    });
    deepEqual(images.heldBy("lazy"), []);
    await store.createReadWrite(id("d"), { parent: `${id("d")}-init` });
    deepEqual(layersIn(store.home), [id("a"), `${id("a")}-init`, id("d"), `${id("d")}-init`, "lazy"]);
  },
);

/**
 * Fuzzes Docker's graph-driver protocol: every call with any body and any query, on a real layer store.
 *
 * @module
 */
import assert from "node:assert/strict";
import { geteuid } from "../../ffi/unistd.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import { Applier } from "../../lib/layer/apply/applier.ts";
import { Differ } from "../../lib/layer/diff/differ.ts";
import { isLayerId } from "../../lib/layer/record/layer_id.ts";
import { idOfLinkTarget, parseLower } from "../../lib/layer/record/layer_paths.ts";
import { LayerStore } from "../../lib/layer/layer_store.ts";
import { createGraphDriverApp } from "../../plugin/docker/app.ts";
import { GraphDriver } from "../../plugin/docker/driver.ts";
import { JSON_METHODS } from "../../plugin/docker/json_methods.ts";
import { FolderImages } from "../support/layer/folder_images.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";
import { WITHOUT_DOCKER } from "../support/layer/store_home.ts";

const METHODS = [...Object.keys(JSON_METHODS), "GraphDriver.ApplyDiff", "GraphDriver.Diff"];
const STATUSES = [200, 404, 500];

/** Bodies of calls as sent by dockerd, except Init, which would move the home. */
const CALLS = METHODS.filter((name) => !name.endsWith("Init")).map((name) =>
  JSON.stringify({
    call: name,
    query: name.endsWith("ApplyDiff") ? "id=base&parent=" : "",
    body: { ID: "base", Parent: "", MountLabel: "", StorageOpt: null },
  })
);

/** The request described by an input; anything but an object with a call is sent as is. */
function requestOf(text: string): Request {
  let method = "GraphDriver.Get", query = "", body = text;
  try {
    const parsed = JSON.parse(text) as { call?: unknown; query?: unknown; body?: unknown } | null;
    if (typeof parsed === "object" && parsed !== null && "call" in parsed) {
      method = String(parsed.call);
      query = String(parsed.query ?? "");
      body = typeof parsed.body === "string" ? parsed.body : JSON.stringify(parsed.body) ?? "";
    }
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error; // String() of an odd object
  }
  // drop what a client cannot send in a request line
  const line = `${method}?${query}`.replaceAll(/[^\x21-\x7e]/g, "");
  return new Request(`http://plugin.moby.localhost/${line}`, { method: "POST", body });
}

const isRoot = geteuid() === 0;

fuzz(import.meta, {
  name: "graph-driver calls",
  inputs: () =>
    new TextMutator(CALLS, {
      json: true,
      words: [
        "ID",
        "Parent",
        "StorageOpt",
        "base",
        "top",
        "l",
        ".lock",
        ".making",
        "base/diff",
        "..%2f",
        "id=",
        "&",
        "id=../x",
      ],
    }),
  missing: isRoot ? undefined : "not root",
  open: async (scratch) => {
    const canary = `${scratch}/canary`;
    Deno.writeTextFileSync(canary, "untouched");
    const parts = { ...WITHOUT_DOCKER, lazyImages: new FolderImages(), applier: new Applier(), differ: new Differ() };
    const driver = await GraphDriver.resume({
      stateFile: `${scratch}/state.json`,
      openStore: (home) => LayerStore.open(home, parts),
    });
    const app = createGraphDriverApp(driver);
    const send = async (request: Request) => {
      const response = await app.fetch(request);
      assert.ok(STATUSES.includes(response.status), `status ${response.status}`);
      return { response, text: await response.text() };
    };
    const home = `${scratch}/home`;
    await send(requestOf(JSON.stringify({ call: "GraphDriver.Init", body: { Home: home } })));
    assert.ok(driver.ready);
    const run = async (text: string) => {
      const { response, text: answer } = await send(requestOf(text));
      if (response.headers.get("content-type") !== "application/x-tar") {
        const document = JSON.parse(answer) as { Err?: unknown; Dir?: unknown };
        if (document.Dir !== undefined) assert.match(String(document.Dir), new RegExp(`^${home}/[^/]+/(diff|merged)$`));
      }
      // nothing may appear beside the home, and only layers in it
      const names = [...Deno.readDirSync(scratch)].map(({ name }) => name).sort();
      assert.deepEqual(names, ["canary", "home", "state.json", "state.json.copy"]);
      assert.equal(Deno.readTextFileSync(canary), "untouched");
      const layers = [...Deno.readDirSync(home)].map(({ name }) => name).filter((name) => !name.startsWith("."));
      assert.ok(layers.every((name) => name === "l" || isLayerId(name)), layers.join(" "));
      for (const id of layers.length > 8 ? layers.filter((name) => name !== "l") : []) await driver.store.remove(id);
    };
    return Object.assign(run, {
      async [Symbol.asyncDispose]() {
        await driver.store.cleanup();
        await driver[Symbol.asyncDispose]();
        await parts.applier[Symbol.asyncDispose]();
        parts.differ[Symbol.dispose]();
      },
    });
  },
});

fuzz(import.meta, {
  name: "graph-driver Init",
  inputs: () =>
    new TextMutator([
      JSON.stringify({
        Home: "/var/lib/docker/nydus-gd",
        Opts: ["nydus-gd.fs-driver=auto", "nydus-gd.config=/x"],
        UIDMaps: [{ container_id: 0, host_id: 100000, size: 65536 }],
        GIDMaps: null,
      }),
      JSON.stringify({ Home: "/home/", Opts: null, UIDMaps: null, GIDMaps: null }),
    ], { json: true, words: ["Home", "Opts", "nydus-gd.", "nydus-gd.size=1G", "=", "/", "//", "/..", "relative"] }),
  open: async (scratch) => {
    const stateFile = `${scratch}/state.json`;
    let asked: string | undefined;
    const openStore = (home: string) => {
      asked = home;
      return Promise.reject(new NydusGdError("io", "Cannot open home: it is not opened here"));
    };
    const app = createGraphDriverApp(await GraphDriver.resume({ stateFile, openStore }));
    return async (body) => {
      asked = undefined;
      const request = new Request("http://plugin.moby.localhost/GraphDriver.Init", { method: "POST", body });
      const response = await app.fetch(request);
      assert.ok(STATUSES.includes(response.status), `status ${response.status}`);
      assert.match(String((await response.json() as { Err?: unknown }).Err), /^Cannot /);
      if (asked !== undefined) assert.match(asked, /^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/);
    };
  },
});

fuzz(import.meta, {
  name: "layer ids and what names layers",
  inputs: () => new TextMutator(["a".repeat(64), "abc-init", "../abc/diff", "l/AAAAAAAAAAAAAAAAAAAAAAAAAA:l/A2"]),
  open: () => (text) => {
    if (isLayerId(text)) assert.match(text, /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
    assert.ok(!isLayerId(text) || !text.endsWith("\n") && text !== "l");
    const id = idOfLinkTarget(text);
    assert.ok(id === undefined || isLayerId(id), text);
    for (const short of parseLower(text) ?? []) assert.match(short, /^[A-Z2-7]{26}$/);
  },
});

import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { createGraphDriverApp, methodOf } from "./app.ts";
import { GraphDriver } from "./driver.ts";
import { PLUGIN_MEDIA_TYPE } from "./protocol.ts";

/** A driver that dockerd has not spoken to yet. */
async function withApp(run: (call: (path: string, body?: BodyInit) => Promise<Response>) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  try {
    await using driver = await GraphDriver.resume({
      stateFile: `${dir}/state.json`,
      openStore: () => Promise.reject(new Error("no Init is expected")),
    });
    const app = createGraphDriverApp(driver);
    const call = async (path: string, body?: BodyInit) =>
      await app.fetch(new Request(`http://plugin.moby.localhost${path}`, { method: "POST", body: body ?? null }));
    await run(call);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("a call is recognised by the end of its path, whatever the prefix", () => {
  equal(methodOf("http://plugin.moby.localhost/GraphDriver.Get"), "GraphDriver.Get");
  equal(methodOf("http+unix://%2Frun%2Fx.sock/run/x.sock/GraphDriver.Get"), "GraphDriver.Get");
  equal(methodOf("http://a/b/c/GraphDriver.ApplyDiff?id=x&parent=/GraphDriver.Remove"), "GraphDriver.ApplyDiff");
  equal(methodOf("http:///Plugin.Activate"), "Plugin.Activate");
  for (const url of ["http://a/", "http://a/GraphDriver", "http://a/GraphDriver.Get/x", "http://a/XGraphDriver.Get"]) {
    equal(methodOf(url), undefined, url);
  }
});

Deno.test("Activate and Capabilities need no Init", () =>
  withApp(async (call) => {
    const activate = await call("/Plugin.Activate");
    equal(activate.headers.get("content-type"), PLUGIN_MEDIA_TYPE);
    deepEqual(await activate.json(), { Implements: ["GraphDriver"] });
    const capabilities = await call("/any/prefix/GraphDriver.Capabilities", "{}\n");
    deepEqual(await capabilities.json(), { Capabilities: { ReproducesExactDiffs: false } });
    deepEqual(await (await call("/GraphDriver.Cleanup", "{}")).json(), {});
  }));

Deno.test("before Init every other call is an Err that says so, for Diff with a status other than 200", () =>
  withApp(async (call) => {
    for (const name of ["Create", "Get", "Put", "Remove", "Status", "GetMetadata", "Changes", "DiffSize"]) {
      const response = await call(`/GraphDriver.${name}`, '{"ID":"a"}');
      equal(response.status, 200, name);
      match((await response.json()).Err, /no GraphDriver\.Init yet/);
    }
    const diff = await call("/GraphDriver.Diff", '{"ID":"a"}');
    equal(diff.status, 500);
    match((await diff.json()).Err, /no GraphDriver\.Init yet/);
    match((await (await call("/GraphDriver.ApplyDiff?id=a", "tar")).json()).Err, /no GraphDriver\.Init yet/);
  }));

Deno.test("unknown calls, invalid bodies and endless bodies get a response", () =>
  withApp(async (call) => {
    const unknown = await call("/GraphDriver.NoSuchThing", "{}");
    equal(unknown.status, 404);
    match((await unknown.json()).Err, /GraphDriver\.NoSuchThing: no such call/);
    equal((await call("/")).status, 404);
    match((await (await call("/GraphDriver.Create", '{"ID":')).json()).Err, /Cannot read GraphDriver\.Create request/);
    match((await (await call("/GraphDriver.Create", " ".repeat(2 << 20))).json()).Err, /exceeds 1048576 bytes/);
    equal((await call("/GraphDriver.Diff", "GET / HTTP/1.0")).status, 500);
  }));

Deno.test("unknown storage options and user namespaces fail the Init", () =>
  withApp(async (call) => {
    const init = await call("/GraphDriver.Init", '{"Home":"/h","Opts":["overlay2.size=1G"]}');
    match((await init.json()).Err, /"overlay2\.size=1G" is unknown \(hint: /);
  }));

Deno.test("a state file with an invalid home is reported, not a runtime exception", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const stateFile = `${dir}/state.json`;
    const openStore = () => Promise.reject(new Error("no home is expected"));
    for (const home of ["/a\0b", `/${"n".repeat(300)}`, `${stateFile}/home`]) {
      await Deno.writeTextFile(stateFile, JSON.stringify({ home, options: {} }));
      await rejects(GraphDriver.resume({ stateFile, openStore }), { name: "NydusGdError", code: "io" });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

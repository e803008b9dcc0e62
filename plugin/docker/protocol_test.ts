import { deepEqual, equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { CreateSchema, GetSchema, InitSchema, NothingSchema, parseRequest } from "./protocol.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("a request of dockerd is parsed, absent and null members alike", () => {
  const empty = { ID: "a", Parent: "", MountLabel: "", StorageOpt: {} };
  deepEqual(parseRequest("GraphDriver.Create", CreateSchema, bytes('{"ID":"a"}\n')), empty);
  deepEqual(
    parseRequest("GraphDriver.Create", CreateSchema, bytes('{"ID":"a","Parent":null,"StorageOpt":null,"New":1}')),
    empty,
  );
  deepEqual(
    parseRequest("GraphDriver.Init", InitSchema, bytes('{"Home":"/h","Opts":null,"UIDMaps":null,"GIDMaps":null}')),
    { Home: "/h", Opts: [], UIDMaps: [], GIDMaps: [] },
  );
});

Deno.test("an empty body is a request without members", () => {
  deepEqual(parseRequest("Plugin.Activate", NothingSchema, new Uint8Array(0)), {});
});

Deno.test("a call that Docker repeats without its body is reported as such", () => {
  const empty = () => parseRequest("GraphDriver.Get", GetSchema, new Uint8Array(0));
  throws(empty, /Cannot read GraphDriver\.Get request: Docker has sent it again without its body, .* run the command/);
});

Deno.test("invalid members are reported with their path", () => {
  const read = (body: string) => () => parseRequest("GraphDriver.Create", CreateSchema, bytes(body));
  throws(read('{"ID":7}'), /Cannot read GraphDriver\.Create request: ID: .*string/);
  throws(read('{"ID":"a","StorageOpt":{"size":1}}'), /StorageOpt\.size: /);
  throws(read("[1,2]"), /ID: /);
  throws(read('{"ID":"x'), /Cannot read GraphDriver\.Create request: /);
  throws(read("null"), /body: /);
  throws(
    () => parseRequest("GraphDriver.Create", CreateSchema, new Uint8Array([0x22, 0xff, 0x22])),
    /body is not UTF-8/,
  );
});

Deno.test("arbitrary bytes yield a request or a NydusGdError", () => {
  fc.assert(fc.property(fc.uint8Array(), (body) => {
    try {
      equal(typeof parseRequest("GraphDriver.Create", CreateSchema, body).ID, "string");
    } catch (error) {
      equal(error instanceof Error && error.name, "NydusGdError");
    }
  }));
});

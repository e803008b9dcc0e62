import assert from "node:assert/strict";
import fc from "fast-check";
import { parseChallenges } from "./challenge.ts";

function parsed(header: string): [string, Record<string, string>][] {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

Deno.test("commas within the scope of a Bearer challenge are kept", () => {
  assert.deepEqual(
    parsed('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'),
    [["bearer", {
      realm: "https://auth.docker.io/token",
      service: "registry.docker.io",
      scope: "repository:a/b:pull,push",
    }]],
  );
});

Deno.test("several challenges in one header are separated", () => {
  assert.deepEqual(
    parsed('Negotiate, NTLM TlRMTVNTUAAB==, basic realm="a \\"b\\", c" , BEARER realm=x , service = "s"'),
    [
      ["negotiate", {}],
      ["ntlm", {}],
      ["basic", { realm: 'a "b", c' }],
      ["bearer", { realm: "x", service: "s" }],
    ],
  );
});

Deno.test("the first of two parameters of the same name is used", () => {
  assert.deepEqual(parsed('Bearer realm="one", REALM="two"'), [["bearer", { realm: "one" }]]);
});

Deno.test("text that is not a challenge yields none", () => {
  assert.deepEqual(parsed(""), []);
  assert.deepEqual(parsed('"quoted"'), []);
  assert.deepEqual(parsed("=,=,"), []);
  assert.deepEqual(parsed("x".repeat(20_000)), []);
});

Deno.test("a formatted challenge is parsed back unchanged", () => {
  const value = fc.string({ maxLength: 40 }).filter((text) => !/[\r\n]/.test(text));
  const parameters = fc.dictionary(fc.stringMatching(/^[a-z]{1,10}$/), value, { minKeys: 1, maxKeys: 4 });
  fc.assert(fc.property(fc.array(parameters, { minLength: 1, maxLength: 3 }), (challenges) => {
    const header = challenges.map((each) =>
      "Bearer " + Object.entries(each).map(([name, text]) => `${name}="${text.replace(/[\\"]/g, "\\$&")}"`).join(",")
    ).join(", ");
    assert.deepEqual(parsed(header), challenges.map((each) => ["bearer", { ...each }]));
  }));
});

Deno.test("arbitrary headers neither throw nor hang", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'aB =,"\\;\t~+/'.split("")) }), (header) => {
    parseChallenges(header);
  }));
});

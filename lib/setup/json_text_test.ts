import assert from "node:assert/strict";
import fc from "fast-check";
import { NydusGdError } from "../base/errors.ts";
import { JsonText } from "./json_text.ts";

const parse = (text: string) => JsonText.parse(text, "daemon.json");

Deno.test("a new member is appended, in the format of the others", () => {
  const cases: [before: string, after: string][] = [
    ['{\n  "a": 1\n}\n', '{\n  "a": 1,\n  "new": true\n}\n'],
    ['{\r\n\t"a" : [1,\r\n\t2]\r\n}', '{\r\n\t"a" : [1,\r\n\t2],\r\n\t"new" : true\r\n}'],
    ['{"a":1}', '{"a":1,"new":true}'],
    ['{ "a": {"b": {}}, "c": "}" }', '{ "a": {"b": {}}, "c": "}", "new": true }'],
    ["{}", '{\n    "new": true\n}'],
    ["\n{ \n }\n\n", '\n{\n    "new": true\n}\n\n'],
  ];
  for (const [before, after] of cases) assert.equal(parse(before).with("new", true).text, after);
});

Deno.test("a member is changed in place, and removed with its comma", () => {
  const text = '{\n  "a": [1],\n  "b" : "x",\n  "c": null\n}\n';
  assert.equal(parse(text).with("b", "y\n").text, text.replace('"x"', '"y\\n"'));
  assert.equal(parse(text).with("a", undefined).text, '{\n  "b" : "x",\n  "c": null\n}\n');
  assert.equal(parse(text).with("b", undefined).text, '{\n  "a": [1],\n  "c": null\n}\n');
  assert.equal(parse(text).with("c", undefined).text, '{\n  "a": [1],\n  "b" : "x"\n}\n');
  assert.equal(parse('{ "a": 1 }').with("a", undefined).text, "{}");
  assert.equal(parse(text).with("none", undefined).text, text);
});

Deno.test("a value of several lines is indented to its depth", () => {
  const text = parse('{\n  "a": 1\n}\n').with("list", ["x", "y"]).text;
  assert.equal(text, '{\n  "a": 1,\n  "list": [\n    "x",\n    "y"\n  ]\n}\n');
});

Deno.test("text that is not JSON is refused with its line", () => {
  const cases: [text: string, line: number, state: RegExp][] = [
    ['{\n  // note\n  "a": 1\n}', 2, /comment/],
    ['{\n  "a": 1 /* note */\n}', 2, /comment/],
    ['# note\n{"a": 1}', 1, /not JSON/],
    ['{\n  "a": 1,\n}', 3, /expected a name in double quotes/],
    ['{"a": [1,\n2,\n]}', 3, /expected a value/],
    ['{\n"a": 1,\n"b": 2,\n"a": 3\n}', 4, /a second "a"/],
    ['{"x": {\n"a": 1, "a": 2}}', 2, /a second "a"/],
    ['{"x": [\n1, -1e999]}', 2, /a number is larger/],
    ['{\n"a": 1\n"b": 2\n}', 3, /expected a comma/],
    ["{a: 1}", 1, /not JSON/],
    ["{'a': 1}", 1, /not JSON/],
    ['{"a": 01}', 1, /expected a comma/],
    ['{"a": tru}', 1, /not JSON/],
    ['{"a": "x\ny"}', 1, /a string is not terminated/],
    ['{"a" 1}', 1, /expected a colon/],
    ['["a"]', 1, /expected an object/],
    ["", 1, /expected a value/],
    ['{"a": 1}\n}', 2, /something follows/],
    ['\uFEFF{"a": 1}', 1, /byte order mark/],
    [`{"a": ${"[".repeat(100_000)}`, 1, /nested too deeply/],
    ['{"a": 1', 1, /expected a comma or a closing brace/],
  ];
  for (const [text, line, state] of cases) {
    assert.throws(() => parse(text), (error) => {
      assert.ok(error instanceof NydusGdError && error.code === "config", text);
      assert.match(error.message, new RegExp(`^Cannot read daemon\\.json: line ${line}: `), text);
      assert.match(error.message, state);
      return true;
    });
  }
});

/** Objects without `__proto__`, which an assignment does not turn into a member. */
const object = fc.dictionary(fc.string().filter((name) => name !== "__proto__"), fc.jsonValue(), { maxKeys: 6 });

Deno.test("the same values as by JSON.parse are read, and a change affects one member", () => {
  fc.assert(fc.property(object, fc.nat(4), fc.string(), fc.jsonValue(), (before, indent, name, value) => {
    fc.pre(name !== "__proto__");
    const text = JSON.stringify(before, undefined, indent);
    const json = parse(text);
    assert.deepEqual(json.names, Object.keys(JSON.parse(text)).sort(byPlaceIn(json.names)));
    for (const each of json.names) assert.deepEqual(json.get(each), JSON.parse(text)[each]);
    const expected = { ...JSON.parse(text), [name]: JSON.parse(JSON.stringify(value)) };
    assert.deepEqual(JSON.parse(json.with(name, value).text), expected);
    const { [name]: _gone, ...rest } = JSON.parse(text);
    assert.deepEqual(JSON.parse(json.with(name, undefined).text), rest);
    if (!json.names.includes(name) && json.names.length > 0) {
      assert.equal(json.with(name, value).with(name, undefined).text, text);
    }
  }));
});

Deno.test("any text is parsed, or refused with a NydusGdError", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.json().map((text) => text.slice(1))), (text) => {
    try {
      const { names } = parse(text);
      assert.equal(Object.keys(JSON.parse(text)).length, names.length);
    } catch (error) {
      if (!(error instanceof NydusGdError)) throw error;
    }
  }));
});

function byPlaceIn(names: readonly string[]): (a: string, b: string) => number {
  return (a, b) => names.indexOf(a) - names.indexOf(b);
}

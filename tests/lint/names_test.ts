/**
 * A type that modules share has a name of its own, so that a reader who meets it knows which one it is.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readSource, sourceFiles } from "./sources.ts";

/** A type that other modules can import; not one that is passed on. */
const EXPORTED_TYPE = /^export (?:abstract )?(?:class|interface|type) (\w+)(?! ?\})/gm;

/** The same path for both versions of RAFS, whose readers and writers have the same parts. */
function withoutVersion(path: string): string {
  return path.replace(/^lib\/rafs\/v[56]\//, "lib/rafs/");
}

/** The names of types that several modules declare, with these modules. */
function sharedNames(sources: ReadonlyMap<string, string>): string[] {
  const places = new Map<string, Set<string>>();
  for (const [path, text] of sources) {
    for (const [, name = ""] of text.matchAll(EXPORTED_TYPE)) {
      places.set(name, (places.get(name) ?? new Set()).add(withoutVersion(path)));
    }
  }
  const shared = [...places].filter(([, paths]) => paths.size > 1);
  return shared.map(([name, paths]) => `${name}: ${[...paths].join(", ")}`).sort();
}

Deno.test("no two modules export different types of the same name", async () => {
  const isShared = (path: string) => /^(ffi|lib|plugin|tests)\/.*(?<!_test)\.ts$/.test(path);
  const sources = new Map<string, string>();
  for (const path of (await sourceFiles()).filter(isShared)) sources.set(path, await readSource(path));
  assert.ok(sources.size > 0);
  assert.deepEqual(sharedNames(sources), []);
});

Deno.test("types of the same name are found, but not those of the two versions of RAFS", () => {
  const sources = new Map([
    ["lib/a/x.ts", "export interface A {}\nexport type { B } from './y.ts';\nclass C {}\n"],
    ["lib/a/y.ts", "export abstract class A {}\nexport type B = 1;\nexport class C {}\n"],
    ["lib/rafs/v5/writer.ts", "export class Writer {}\n"],
    ["lib/rafs/v6/writer.ts", "export class Writer {}\n"],
  ]);
  assert.deepEqual(sharedNames(sources), ["A: lib/a/x.ts, lib/a/y.ts"]);
});

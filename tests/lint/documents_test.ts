/**
 * Compares documents and comments with the repository: what they link to and the modules that they name have to exist.
 *
 * @module
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path/posix";
import { readSource, sourceFiles } from "./sources.ts";

/** The documents, by path. */
async function documents(): Promise<Map<string, string>> {
  const paths = (await sourceFiles()).filter((path) => path.endsWith(".md"));
  return new Map(
    await Promise.all(paths.map(async (path): Promise<[string, string]> => [path, await readSource(path)])),
  );
}

/** The text without blocks of code. */
function proseOf(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, "");
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(text: string): Set<string> {
  const headings = [...proseOf(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading.toLowerCase().replaceAll(/[^\p{Letter}\p{Number}\p{Mark}_ -]/gu, "").replaceAll(" ", "-")
    ),
  );
}

Deno.test("links between documents lead to a file, and to a heading in it", async () => {
  const files = new Set(await sourceFiles());
  const folders = new Set([...files].map((path) => dirname(path)));
  const texts = await documents();
  const broken: string[] = [];
  let count = 0;
  for (const [path, text] of texts) {
    for (const [, link = ""] of proseOf(text).matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      count++;
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? path : join(dirname(path), file);
      const isThere = files.has(target) || folders.has(target);
      if (!isThere || (anchor !== undefined && !anchorsOf(texts.get(target) ?? "").has(anchor))) {
        broken.push(`${path}: ${link}`);
      }
    }
  }
  assert.ok(count > 0);
  assert.deepEqual(broken, []);
});

Deno.test("modules that a document names exist", async () => {
  const files = await sourceFiles();
  const missing: string[] = [];
  let count = 0;
  for (const [path, text] of await documents()) {
    for (const [, name = ""] of text.matchAll(/`([\w/]+\.ts)[`:]/g)) {
      count++;
      if (!files.some((file) => file === name || file.endsWith(`/${name}`))) missing.push(`${path}: ${name}`);
    }
  }
  assert.ok(count > 0);
  assert.deepEqual(missing, []);
});

Deno.test("modules that a comment names exist, from its folder or from one above", async () => {
  const files = new Set((await sourceFiles()).filter((path) => path.endsWith(".ts")));
  const missing: string[] = [];
  let count = 0;
  for (const path of files) {
    for (const [comment] of (await readSource(path)).matchAll(/\/\*\*[\s\S]*?\*\//g)) {
      for (const [, name = ""] of comment.matchAll(/(?<![\w"*/.:])((?:\.{1,2}\/)*(?:\w+\/)*[a-z0-9]\w*\.ts)\b/g)) {
        count++;
        if (!foldersAbove(path).some((folder) => files.has(join(folder, name)))) missing.push(`${path}: ${name}`);
      }
    }
  }
  assert.ok(count > 0);
  assert.deepEqual(missing, []);
});

Deno.test("names that a comment links to are in its module, or exported by another one", async () => {
  const sources = new Map<string, string>();
  for (const path of await sourceFiles()) if (path.endsWith(".ts")) sources.set(path, await readSource(path));
  const exported = new Set(
    [...sources.values()].flatMap((text) => [...text.matchAll(EXPORTED)].map(([, name = ""]) => name)),
  );
  const missing: string[] = [];
  let count = 0;
  for (const [path, text] of sources) {
    const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "");
    for (const [link, name = ""] of text.matchAll(/\{@link (\w+)[^}]*\}/g)) {
      count++;
      if (!exported.has(name) && !new RegExp(`\\b${name}\\b`).test(code)) missing.push(`${path}: ${link}`);
    }
  }
  assert.ok(count > 0);
  assert.deepEqual(missing, []);
});

/** A declaration that other modules can import. */
const EXPORTED = /^export (?:abstract |async )?(?:class|const|enum|function\*?|interface|type) (\w+)/gm;

/** The folder of a file, and those that contain it; the last one is the root of the repository. */
function foldersAbove(path: string): string[] {
  const folder = dirname(path);
  return folder === "." ? [folder] : [folder, ...foldersAbove(folder)];
}

Deno.test("tags of comments have their @", async () => {
  const without: string[] = [];
  for (const path of (await sourceFiles()).filter((path) => path.endsWith(".ts"))) {
    const lines = (await readSource(path)).split("\n");
    const bare = lines.flatMap((line, at) => /^\s*\* (throws \{|param \w+ )/.test(line) ? [`${path}:${at + 1}`] : []);
    without.push(...bare);
  }
  assert.deepEqual(without, []);
});

Deno.test("each module opens with a comment that says what it is", async () => {
  const isModule = (path: string) => path.endsWith(".ts") && !path.endsWith("_test.ts");
  const without: string[] = [];
  for (const path of (await sourceFiles()).filter(isModule)) {
    const [, comment = ""] = (await readSource(path)).match(/^(?:\/\/\/.*\n)*\/\*\*([\s\S]*?)\*\//) ?? [];
    if (!/\w[\s\S]*\n \* @module\s*$/.test(comment)) without.push(path);
  }
  assert.deepEqual(without, []);
});

/**
 * Functions that a reader can take in at once: how long they may be, and how deep they may nest.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readSource, sourceFiles } from "./sources.ts";

/** Maximum lines of a function, from its name to its last brace. */
const MAX_LINES = 60;
/** Maximum depth of loops, conditions, switches and tries in each other; `else if` is one with its `if`. */
const MAX_DEPTH = 3;

const NESTING = [
  "IfStatement",
  "ForStatement",
  "ForOfStatement",
  "ForInStatement",
  "WhileStatement",
  "DoWhileStatement",
  "SwitchStatement",
  "TryStatement",
];

/** Says where a function is too long or nests too deep. */
const shape: Deno.lint.Plugin = {
  name: "shape",
  rules: {
    length: {
      create(context) {
        const check = (node: Deno.lint.Node) => {
          const lines = context.sourceCode.getText(node).split("\n").length;
          if (lines > MAX_LINES) context.report({ node, message: `${lines} lines, at most ${MAX_LINES}` });
        };
        return {
          FunctionDeclaration: check,
          FunctionExpression: check,
          ArrowFunctionExpression: check,
        };
      },
    },
    depth: {
      create(context) {
        const enter = (node: Deno.lint.Node) => {
          const depth = depthOf(node);
          if (depth === MAX_DEPTH + 1) context.report({ node, message: `nested ${depth} deep, at most ${MAX_DEPTH}` });
        };
        return Object.fromEntries(NESTING.map((type) => [type, enter]));
      },
    },
  },
};

/** How many statements of {@link NESTING} a node is in, within its function, itself included. */
function depthOf(node: Deno.lint.Node): number {
  let depth = 0;
  for (let at: Deno.lint.Node | null = node; at !== null && !at.type.includes("Function"); at = parentOf(at)) {
    if (NESTING.includes(at.type) && !isElseIf(at)) depth++;
  }
  return depth;
}

function parentOf(node: Deno.lint.Node): Deno.lint.Node | null {
  return "parent" in node ? node.parent as Deno.lint.Node | null : null;
}

function isElseIf(node: Deno.lint.Node): boolean {
  return node.type === "IfStatement" && node.parent.type === "IfStatement" &&
    node.parent.alternate?.range[0] === node.range[0];
}

/** What is wrong with the functions of a module: "lib/x.ts:3: …" */
function offencesOf(path: string, source: string): string[] {
  return Deno.lint.runPlugin(shape, path, source).map(({ message, range: [start] }) =>
    `${path}:${source.slice(0, start).split("\n").length}: ${message}`
  );
}

Deno.test("no function is too long or nests too deep", async () => {
  const isProduct = (path: string) => path.endsWith(".ts") && !path.startsWith("tests/") && !path.endsWith("_test.ts");
  const paths = (await sourceFiles()).filter(isProduct);
  assert.ok(paths.includes("lib/cli/program.ts"));
  const offences: string[] = [];
  for (const path of paths) offences.push(...offencesOf(path, await readSource(path)));
  assert.deepEqual(offences, []);
});

Deno.test("long functions and deep ones are found, where they begin", () => {
  const long = `class X {\n  a() {\n${"    b();\n".repeat(MAX_LINES)}  }\n}\n`;
  assert.deepEqual(offencesOf("x.ts", long), [`x.ts:2: ${MAX_LINES + 2} lines, at most ${MAX_LINES}`]);
  const deep =
    "function f() {\n  for (;;)\n    try {\n      while (a) {\n        if (b) c();\n      }\n    } catch {}\n}\n";
  assert.deepEqual(offencesOf("x.ts", deep), ["x.ts:5: nested 4 deep, at most 3"]);
  const flat =
    "function f() {\n  for (;;) { if (a) b(); else if (c) d(); else if (e) { if (g) h(() => { if (i) j(); }); } }\n}\n";
  assert.deepEqual(offencesOf("x.ts", flat), []);
});

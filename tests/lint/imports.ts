/// <reference lib="deno.unstable" />
/**
 * External uses of a module: its imports, static, dynamic, of types and of Workers, and the globals that do I/O. Read
 * from the syntax tree, so that comments and strings do not count.
 *
 * Works inside `deno test` only, as `Deno.lint.runPlugin` does.
 *
 * @module
 */

/** Use of something outside the module. */
export interface Reach {
  readonly kind: "import" | "worker" | "global";
  /** Specifier as written, or name of the global; undefined for a computed specifier. */
  readonly name: string | undefined;
  /** Line, from 1. */
  readonly line: number;
}

/** Globals that perform I/O. */
const IO_GLOBALS = new Set(["Deno", "fetch", "WebSocket", "EventSource", "localStorage", "sessionStorage", "caches"]);

/** Everything that the module with this text imports or uses, in order. */
export function reachesOf(source: string): Reach[] {
  const found: Reach[] = [];
  const report = (kind: Reach["kind"], name: string | undefined, at: number) => {
    found.push({ kind, name, line: source.slice(0, at).split("\n").length });
  };
  const plugin: Deno.lint.Plugin = {
    name: "imports",
    rules: {
      reach: {
        create: () => ({
          ImportDeclaration: (node) => report("import", node.source.value, node.range[0]),
          ExportAllDeclaration: (node) => report("import", node.source.value, node.range[0]),
          ExportNamedDeclaration: (node) => {
            if (node.source !== null) report("import", node.source.value, node.range[0]);
          },
          ImportExpression: (node) => report("import", literal(node.source), node.range[0]),
          TSImportType: (node) => {
            const argument = node.argument as { literal?: Deno.lint.Node } & Deno.lint.Node;
            report("import", literal(argument.literal ?? argument), node.range[0]);
          },
          CallExpression: (node) => {
            const { callee } = node;
            if (callee.type !== "Identifier") return;
            const file = node.arguments[1];
            if (callee.name === "workerUrl") report("worker", file && literal(file), node.range[0]);
            if (IO_GLOBALS.has(callee.name)) report("global", callee.name, node.range[0]);
          },
          NewExpression: (node) => {
            if (node.callee.type === "Identifier" && IO_GLOBALS.has(node.callee.name)) {
              report("global", node.callee.name, node.range[0]);
            }
          },
          MemberExpression: (node) => {
            if (node.object.type === "Identifier" && IO_GLOBALS.has(node.object.name)) {
              const property = node.property.type === "Identifier" ? `.${node.property.name}` : "";
              report("global", `${node.object.name}${property}`, node.range[0]);
            }
          },
        }),
      },
    },
  };
  Deno.lint.runPlugin(plugin, "module.ts", source);
  return found;
}

/** The text of a string literal, or of a template without substitutions. */
function literal(node: Deno.lint.Node): string | undefined {
  if (node.type === "Literal") return typeof node.value === "string" ? node.value : undefined;
  if (node.type === "TemplateLiteral" && node.expressions.length === 0) return node.quasis[0]?.cooked;
  return undefined;
}

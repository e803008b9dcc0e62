/**
 * The layering rule: which component may import which.
 *
 * ```
 * ffi < lib/base < archive < oci < rafs < backend < blob < mount < layer < snapshot < image < setup < doctor < demo
 * lib/cli and plugin are above lib and may not import each other; only main.ts imports both.
 * ```
 * A module imports its own component and the components before it. Pure components touch nothing but bytes: no ffi, no
 * I/O. Tests and scripts may import anything, nothing may import them. No module imports itself by way of others, not
 * even a type.
 *
 * @module
 */
import { dirname, join, normalize } from "node:path/posix";
import { reachesOf } from "./imports.ts";

/** In order: a component may import those before it. */
export const COMPONENTS = [
  "ffi",
  "lib/base",
  "lib/archive",
  "lib/oci",
  "lib/rafs",
  "lib/backend",
  "lib/blob",
  "lib/mount",
  "lib/layer",
  "lib/snapshot",
  "lib/image",
  "lib/setup",
  "lib/doctor",
  "lib/demo",
] as const;

/** Components above all others, which may not import each other. */
export const TOP_COMPONENTS = ["lib/cli", "plugin"] as const;

/** What tests have around the code. It may import anything, but its folders have an order. */
export const SUPPORT = "tests/support";

/**
 * Ordered folders of a component or of a large folder: each may import those before it, and nothing else of what holds
 * them. "": the files that are in no folder, which may import all of them.
 */
export const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  "lib/rafs": ["", "format", "memory", "blob", "v6", "v5", "erofs", "check"],
  "lib/backend": ["", "http", "registry", "object_store", "localdisk"],
  "lib/blob": ["codec", "tables", "cache", "decode", "fetch"],
  "lib/mount": ["", "reads", "unmount", "keeper", "fuse", "erofs", "fanotify", "fscache"],
  "lib/layer": ["overlay", "home", "userns", "lazy", "record", "apply", "diff", "remove", "make", "recovery"],
  "lib/image": [
    "",
    "prefetch",
    "tree",
    "programs",
    "build",
    "docker",
    "source",
    "lazy",
    "mount",
    "inspect",
    "unpack",
    "against",
    "check",
    "pull",
    "convert",
    "gc",
  ],
  "lib/image/lazy": ["records", "open", "report", "mounted", "offered"],
  "lib/image/convert": ["format", "chunks", "layer", "merge", "source", "target", "copy", "reuse", "run"],
  "lib/setup": ["", "docker", "containerd"],
  "lib/cli": ["", "commands", "run"],
  "plugin": ["sockets", "docker", "containerd", "nydusd", "admin"],
  [SUPPORT]: [
    "",
    "process",
    "archive",
    "rafs",
    "damage",
    "backend",
    "blob",
    "mount",
    "layer",
    "image",
    "serve",
    "docker",
    "machine",
    "fuzz",
    "vm",
  ],
};

/** Components of formats: pure functions of bytes. */
const PURE_COMPONENTS = new Set(["lib/archive", "lib/oci", "lib/rafs"]);

/** Constants of Deno that pure components may use. */
const CONSTANTS = new Set(["Deno.build"]);

/** Modules of the runtime that do I/O. */
const IO_MODULE = /^node:(fs|net|http|http2|https|tls|dgram|dns|child_process|cluster|worker_threads|sqlite|os)(\/|$)/;

/** Packages reserved to one component, or to tests. */
const PACKAGE_HOMES: Readonly<Record<string, string>> = {
  "@commander-js/extra-typings": "lib/cli",
  "@grpc/grpc-js": "plugin",
  "commander": "lib/cli",
  "fast-check": "tests",
  "protobufjs": "plugin",
  "tar-stream": "tests",
};

/** A forbidden import or use. */
export interface Offence {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

/** The component of a file, given by its path in the repository; undefined if it is in no component. */
function componentOf(path: string): string | undefined {
  return [...COMPONENTS, ...TOP_COMPONENTS].find((component) => path.startsWith(`${component}/`));
}

/** Whether the rule does not apply to the file: main.ts, tests and scripts. */
function isExempt(path: string): boolean {
  return path === "main.ts" || /^(tests|scripts)\//.test(path) || path.endsWith("_test.ts");
}

/** Every offence in a file, given by its path in the repository and its text. */
export function offencesOf(path: string, source: string): Offence[] {
  if (path.startsWith(`${SUPPORT}/`)) return supportOffences(path, source);
  if (isExempt(path)) return [];
  const component = componentOf(path);
  if (component === undefined) {
    return [{ file: path, line: 1, reason: "belongs to no component that the layering knows" }];
  }
  return reachesOf(source).flatMap(({ kind, name, line }) => {
    const reason = kind === "global"
      ? globalOffence(component, name)
      : kind === "worker"
      ? workerOffence(name)
      : importOffence(path, component, name);
    return reason === undefined ? [] : [{ file: path, line, reason }];
  });
}

/** Imports between folders of the tests' support that are against their order. */
function supportOffences(path: string, source: string): Offence[] {
  return reachesOf(source).flatMap(({ kind, name, line }) => {
    if (kind !== "import" || !name?.startsWith(".")) return [];
    const reason = folderOffence(path, normalize(join(dirname(path), name)));
    return reason === undefined ? [] : [{ file: path, line, reason }];
  });
}

/** "lib/rafs/x.ts:3: …" */
export function showOffence({ file, line, reason }: Offence): string {
  return `${file}:${line}: ${reason}`;
}

/** The modules of the repository that a module, given by its path and text, imports. */
export function importsOf(path: string, source: string): string[] {
  return reachesOf(source).flatMap(({ kind, name }) =>
    kind === "import" && name?.startsWith(".") ? [normalize(join(dirname(path), name))] : []
  );
}

/** Modules that import themselves by way of others: "a > b > a", one way for each module that closes one. */
export function circlesIn(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const circles: string[] = [];
  const seen = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) circles.push([...way.slice(start), path].join(" > "));
    if (seen.has(path)) return;
    seen.add(path);
    for (const next of imports.get(path) ?? []) visit(next, [...way, path]);
  };
  for (const path of imports.keys()) visit(path, []);
  return circles;
}

function globalOffence(component: string, name: string | undefined): string | undefined {
  if (name !== undefined && CONSTANTS.has(name)) return undefined;
  return PURE_COMPONENTS.has(component) ? `uses ${name}, but ${component} is pure` : undefined;
}

function workerOffence(name: string | undefined): string | undefined {
  if (name !== undefined && /^\w+_worker\.ts$/.test(name)) return undefined;
  return `starts Worker ${name ?? "of a computed name"}, expected the literal name of a *_worker.ts beside it`;
}

function importOffence(path: string, component: string, specifier: string | undefined): string | undefined {
  if (specifier === undefined) return "imports a computed specifier, which cannot be checked";
  if (!specifier.startsWith(".")) return packageOffence(component, specifier);
  const target = normalize(join(dirname(path), specifier));
  const named = `imports ${target}`;
  if (target === "deno.json" && component === "lib/base") return undefined;
  const other = componentOf(target);
  if (other === undefined || target.endsWith("_test.ts")) return `${named}, which is not for components to import`;
  if (other === component) return folderOffence(path, target);
  if (other === "ffi" && PURE_COMPONENTS.has(component)) return `${named}, but ${component} is pure`;
  const rank = (name: string) => (COMPONENTS as readonly string[]).indexOf(name);
  const isTop = (name: string) => (TOP_COMPONENTS as readonly string[]).includes(name);
  const allowed = !isTop(other) && (isTop(component) || rank(other) < rank(component));
  return allowed ? undefined : `${named}, but ${other} does not come before ${component}`;
}

function folderOffence(path: string, target: string): string | undefined {
  for (const [parent, folders] of Object.entries(FOLDERS)) {
    if (!path.startsWith(`${parent}/`) || !target.startsWith(`${parent}/`)) continue;
    const folderOf = (file: string) => /^(\w+)\//.exec(file.slice(parent.length + 1))?.[1] ?? "";
    const own = folderOf(path);
    if (own === "" || own === folderOf(target)) continue;
    const place = folders.indexOf(folderOf(target));
    const allowed = place >= 0 && place < folders.indexOf(own);
    if (!allowed) return `imports ${target}, but that does not come before ${parent}/${own}`;
  }
  return undefined;
}

function packageOffence(component: string, specifier: string): string | undefined {
  const named = `imports ${specifier}`;
  if (/^(https?|jsr|npm|data|blob|file):/.test(specifier)) return `${named}, expected a bare name of deno.json`;
  if (PURE_COMPONENTS.has(component) && IO_MODULE.test(specifier)) return `${named}, but ${component} is pure`;
  const name = specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
  const home = PACKAGE_HOMES[name];
  return home === undefined || home === component ? undefined : `${named}, which belongs to ${home}`;
}

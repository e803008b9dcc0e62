/**
 * Compares the tables of nydusd's keys in the documents with the keys that the program reads.
 *
 * @module
 */
import assert from "node:assert/strict";
import { BACKEND_TYPES } from "../../lib/backend/backend_config.ts";
import { keysOfBackend, keysOfFile } from "../support/backend/nydusd_keys.ts";
import { readSource } from "./sources.ts";

interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The tables of a document, cells trimmed. */
async function tablesOf(document: string): Promise<Table[]> {
  const text = await readSource(document);
  return [...text.matchAll(/(?:^\|.*\n)+/gm)].flatMap(([table]) => {
    const cells = table.trimEnd().split("\n").map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
    const [head, , ...rows] = cells;
    return head === undefined ? [] : [{ head, rows }];
  });
}

/** Names in backticks in one column. */
function named({ rows }: Table | undefined = { head: [], rows: [] }, column: number): string[] {
  return rows.flatMap((cells) => [...(cells[column] ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? ""));
}

Deno.test("the table in docs/nydusd_config.md names every key of each form, and no other", async () => {
  const table = (await tablesOf("docs/nydusd_config.md")).find(({ head }) => head[0] === "v1");
  const isOfTable = (key: string) => !/^(version$|(device\.)?backend\.type$|cache\.prefetch\.)/.test(key);
  for (const version of [1, 2] as const) {
    assert.deepEqual(named(table, version - 1).sort(), keysOfFile(version).filter(isOfTable).sort());
  }
  const prefetchOf = (section: string) =>
    keysOfFile(2).filter((key) => key.startsWith(section)).map((key) => key.slice(section.length));
  assert.deepEqual(prefetchOf("cache.prefetch."), prefetchOf("rafs.prefetch."));
});

Deno.test("the tables in docs/backends.md name every key of each backend, and no other", async () => {
  const tables = await tablesOf("docs/backends.md");
  const types = tables.find(({ head }) => head[0] === "type");
  const [http, proxy] = tables.filter(({ head }) => head[1] === "default");
  const shared = [...named(http, 0), ...named(proxy, 0).map((key) => `proxy.${key}`)];
  for (const type of BACKEND_TYPES) {
    const cell = types?.rows.find(([first]) => first === `\`${type}\``)?.[2] ?? "";
    const words = cell.replaceAll(/\([^)]*\)|;.*|\*\*/g, " ").split(/,| or /).map((word) => word.trim());
    const own = words.filter((word) => /^[a-z_]+$/.test(word));
    const known = keysOfBackend(type);
    const speaksHttp = known.includes("proxy.url");
    const isTheirs = (key: string) => speaksHttp && (key !== "scheme" || type !== "http-proxy");
    assert.deepEqual([...own, ...shared.filter(isTheirs)].sort(), known.sort(), type);
  }
});

import assert from "node:assert/strict";
import { SETTING_NAMES } from "../../lib/base/settings.ts";
import { Metrics } from "./metrics.ts";

const DOCS = new URL("../../docs/", import.meta.url);
const DASHBOARD = "monitoring/grafana.json";

function read(name: string): string {
  return Deno.readTextFileSync(new URL(name, DOCS));
}

Deno.test("dashboard and alert rules use existing metrics only, and omit none", () => {
  const { names } = new Metrics();
  for (const file of ["monitoring/alerts.yml", DASHBOARD]) {
    const used = read(file).match(/\b(?:nydus_gd|process)_[a-z_]+/g) ?? [];
    assert.ok(used.length > 5);
    for (const name of used) assert.ok(names.includes(name), `${file}: there is no metric ${name}`);
  }
  const shown = read(DASHBOARD);
  for (const name of names.filter((each) => each.startsWith("nydus_gd_"))) {
    assert.ok(shown.includes(name), `${DASHBOARD}: ${name} is not shown`);
  }
});

Deno.test("the dashboard is a document with panels side by side, three in a row", () => {
  const { panels } = JSON.parse(read(DASHBOARD)) as { panels: { id: number; gridPos: { x: number; y: number } }[] };
  assert.deepEqual(panels.map(({ id }) => id), panels.map((_, index) => index + 1));
  const places = panels.map(({ gridPos: { x, y } }) => `${x},${y}`);
  assert.equal(new Set(places).size, panels.length);
});

Deno.test("settings named in the debugging page exist", () => {
  const named = read("debugging.md").match(/`((?:fetch|cache|prefetch|mount|docker|metrics)\.[a-z_]+)`/g) ?? [];
  assert.ok(named.length > 3);
  for (const name of named) assert.ok(SETTING_NAMES.includes(name.replaceAll("`", "")), name);
});

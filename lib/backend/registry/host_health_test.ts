import assert from "node:assert/strict";
import { HostHealth } from "./host_health.ts";
import { HostMemory } from "./host_memory.ts";

Deno.test("a failed host is avoided for 30 s, doubling up to 5 min, until it succeeds", () => {
  let nowMs = 0;
  const health = new HostHealth(() => nowMs);
  for (const seconds of [30, 60, 120, 240, 300, 300]) {
    assert.equal(health.isAside("m"), false);
    assert.equal(health.failed("m"), seconds * 1000);
    assert.equal(health.failed("m"), undefined, "a failure of the same moment");
    nowMs += seconds * 1000 - 1;
    assert.equal(health.isAside("m"), true);
    nowMs += 1;
  }
  health.failed("m");
  assert.equal(health.isAside("other"), false);
  health.succeeded("m");
  assert.equal(health.isAside("m"), false);
  assert.equal(health.failed("m"), 30_000);
});

Deno.test("wrong bytes in a range are blamed on the hosts that served parts of it", () => {
  const memory = new HostMemory();
  memory.served("a", 0, 100);
  memory.served("b", 100, 100);
  memory.doubt(50, 50, 0);
  assert.equal(memory.isAside("a", 1), true);
  assert.equal(memory.isAside("b", 1), false);
  assert.equal(memory.isAside("a", 5 * 60_000), false);
});

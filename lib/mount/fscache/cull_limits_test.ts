import assert from "node:assert/strict";
import { type CullLimits, cullLimits, KERNEL_LIMITS, limitCommands } from "./cull_limits.ts";

Deno.test("limits reserve min_free, as whole percents in increasing order", () => {
  assert.deepEqual(cullLimits({ percent: 5 }, 1), { stop: 5, cull: 7, run: 9 });
  assert.deepEqual(cullLimits({ bytes: 101 }, 10_000), { stop: 2, cull: 4, run: 6 });
  assert.deepEqual(cullLimits({ bytes: 0 }, 10_000), { stop: 0, cull: 2, run: 4 });
  assert.deepEqual(cullLimits({ percent: 100 }, 1), { stop: 95, cull: 97, run: 99 });
});

Deno.test("each command is valid with the limits in force when it is sent", () => {
  for (let percent = 0; percent <= 100; percent++) {
    const limits = cullLimits({ percent }, 1);
    let now: CullLimits = KERNEL_LIMITS;
    for (const [command, value] of limitCommands(limits)) {
      now = { ...now, [command.slice(1)]: Number(value.slice(0, -1)) };
      assert.ok(now.stop < now.cull && now.cull < now.run && now.run < 100, `${percent}: ${command} ${value}`);
    }
    assert.deepEqual(now, limits);
  }
});

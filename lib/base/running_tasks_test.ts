import assert from "node:assert/strict";
import { turn } from "../../tests/support/until.ts";
import { RunningTasks } from "./running_tasks.ts";

Deno.test("tasks settle when all have ended, also those that were added meanwhile", async () => {
  const tasks = new RunningTasks();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let hasSettled = false;
  tasks.add(first.promise.then(() => void tasks.add(second.promise)));
  const settled = tasks.settled().then(() => hasSettled = true);
  first.resolve();
  await first.promise;
  await turn();
  assert.equal(hasSettled, false);
  assert.equal(tasks.count, 1);
  second.resolve();
  await settled;
  assert.equal(tasks.count, 0);
});

Deno.test("a failure is for whoever awaits the task, not for whoever waits for its end", async () => {
  const tasks = new RunningTasks();
  const failing = tasks.add(Promise.reject(new Error("it failed")));
  const settled = tasks.settled();
  await assert.rejects(failing, /it failed/);
  await settled;
  assert.equal(await tasks.add(Promise.resolve(7)), 7);
});

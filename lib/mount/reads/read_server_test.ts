import assert from "node:assert/strict";
import { getLogger } from "@logtape/logtape";
import { whenAborted } from "../../base/abort.ts";
import { ReadServer } from "./read_server.ts";

/** A server with one read that waits for data forever; it writes down what happens to it. */
class StuckServer extends ReadServer {
  readonly events: string[] = [];

  constructor() {
    super(getLogger(["nydus-gd", "test"]), 60_000);
    this.startRead(async (signal) => {
      await whenAborted(signal);
      throw signal.reason;
    }, () => this.events.push("EIO"));
  }

  protected override stopTaking(): Promise<void> {
    this.events.push("no more requests");
    return Promise.resolve();
  }

  protected override close(): void {
    this.events.push(`closed with ${this.waiting} waiting`);
  }
}

Deno.test("a server that ends fails the readers that wait, before it closes what answers need", async () => {
  const server = new StuckServer();
  assert.equal(server.waiting, 1);
  await server.end();
  assert.deepEqual(server.events, ["no more requests", "EIO", "closed with 0 waiting"]);
});

Deno.test("a server that leaves gives no answer to the readers that wait: its successor will", async () => {
  const server = new StuckServer();
  await server.leave();
  assert.deepEqual(server.events, ["no more requests", "closed with 0 waiting"]);
});

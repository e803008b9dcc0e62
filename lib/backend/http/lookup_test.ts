import assert from "node:assert/strict";
import { isBelowLocalhost, lookup } from "./lookup.ts";

function addressOf(hostname: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  lookup(hostname, { family: 4 }, (error, address) => error === null ? resolve(String(address)) : reject(error));
  return promise;
}

Deno.test("names below localhost resolve to loopback, others are looked up", async () => {
  for (const name of ["images.localhost", "a.b.LOCALHOST", "images.localhost."]) {
    assert.ok(isBelowLocalhost(name), name);
    assert.equal(await addressOf(name), "127.0.0.1", name);
  }
  for (const name of ["localhost", "notlocalhost", "localhost.example.com", ""]) {
    assert.ok(!isBelowLocalhost(name), name);
  }
  assert.equal(await addressOf("127.0.0.2"), "127.0.0.2");
});

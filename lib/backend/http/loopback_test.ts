import assert from "node:assert/strict";
import { isLoopback } from "./loopback.ts";

Deno.test("loopback hosts are recognised by name", () => {
  for (const host of ["127.0.0.1", "127.8.9.10:5000", "localhost", "LOCALHOST:80", "[::1]", "[::1]:5000"]) {
    assert.ok(isLoopback(host), host);
  }
  for (const host of ["127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "example.com:127"]) {
    assert.ok(!isLoopback(host), host);
  }
});

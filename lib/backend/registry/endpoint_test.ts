import assert from "node:assert/strict";
import { Endpoint } from "./endpoint.ts";

Deno.test("plain HTTP is the fallback only on loopback and with skip_verify", () => {
  const failed = (host: string) => new URL(`https://${host}/v2/`);
  assert.ok(new Endpoint("localhost:5000").fallBack(failed("localhost:5000")));
  assert.ok(!new Endpoint("localhost:5000", { scheme: "https" }).fallBack(failed("localhost:5000")));
  assert.ok(!new Endpoint("r.example.com").fallBack(failed("r.example.com")));
  assert.ok(new Endpoint("r.example.com", { scheme: "https", skipVerify: true }).fallBack(failed("r.example.com")));
  assert.ok(!new Endpoint("r.example.com", { skipVerify: true }).fallBack(failed("elsewhere.example.com")));
});

Deno.test("every request that failed before the fallback may be retried", () => {
  const endpoint = new Endpoint("localhost:5000");
  const first = endpoint.url("/v2/");
  const second = endpoint.url("/v2/");
  assert.ok(endpoint.fallBack(first) && endpoint.fallBack(second));
  assert.equal(endpoint.url("/v2/").protocol, "http:");
});

Deno.test("Docker Hub has one host for all its names, and matches its own URLs only", () => {
  const endpoint = new Endpoint("docker.io");
  assert.equal(endpoint.url("/v2/").href, "https://registry-1.docker.io/v2/");
  assert.ok(endpoint.owns(new URL("https://registry-1.docker.io/v2/x")));
  assert.ok(!endpoint.owns(new URL("http://registry-1.docker.io/v2/x")));
  assert.ok(!endpoint.owns(new URL("https://registry-1.docker.io:444/v2/x")));
});

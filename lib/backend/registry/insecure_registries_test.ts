import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { InsecureRegistries } from "./insecure_registries.ts";

/** Which of the hosts are asked without certificates, and which of them an image may name. */
function judge(
  json: string | undefined,
  hosts: readonly string[],
): { readonly has: string[]; readonly names: string[]; readonly frees: string[] } {
  using dir = TempDir.make();
  const path = dir.join("daemon.json");
  if (json !== undefined) Deno.writeTextFileSync(path, json);
  const registries = new InsecureRegistries(path);
  return {
    has: hosts.filter((host) => registries.has(host)),
    names: hosts.filter((host) => registries.names(host)),
    frees: hosts.filter((host) => registries.frees(host)),
  };
}

Deno.test("hosts stand for themselves, with their port", () => {
  const json = '{"insecure-registries": ["registry.example:5000", "http://other.example", "127.0.0.1:5000"]}';
  const listed = ["registry.example:5000", "other.example", "127.0.0.1:5000"];
  const { has, names, frees } = judge(json, [
    ...listed,
    "registry.example",
    "registry.example:5001",
    "other.example:80",
  ]);
  deepEqual(has, listed);
  deepEqual(names, listed);
  deepEqual(frees, listed);
});

Deno.test("networks stand for registries that are named by address, but do not free this machine's for images", () => {
  const json = '{"insecure-registries": ["10.0.0.0/8", "fd00::/8", "0.0.0.0/1", "169.254.0.0/16"]}';
  const inside = ["10.1.2.3", "10.1.2.3:5000", "[fd00::1]:5000"];
  const ours = ["127.0.0.2:5000", "169.254.169.254"];
  const { has, names, frees } = judge(json, [...inside, ...ours, "203.0.113.1:5000", "[fe80::1]:5000", "ten.example"]);
  deepEqual(has, [...inside, ...ours]);
  deepEqual(frees, inside);
  deepEqual(names, []);
});

Deno.test("a network has at most as many bits as its addresses; what has more stands for nothing but itself", () => {
  const json = '{"insecure-registries": ["10.0.0.0/32", "fd00::/128", "192.168.0.0/33", "fe00::/129"]}';
  const { has } = judge(json, ["10.0.0.0", "10.0.0.1", "[fd00::]", "[fd00::1]", "192.168.0.0", "[fe00::]"]);
  deepEqual(has, ["10.0.0.0", "[fd00::]"]);
});

Deno.test("a file that cannot be read is told once for each reason, a missing one not at all", async () => {
  using dir = TempDir.make();
  const path = dir.join("daemon.json");
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  const registries = new InsecureRegistries(path);
  equal(registries.has("a.example"), false);
  equal(new InsecureRegistries(`${path}/of/a/file`).has("a.example"), false);
  equal(warnings.length, 0, "a missing file was told");
  for (const json of ["{", "{ ", '{"insecure-registries": 5}']) {
    Deno.writeTextFileSync(path, json);
    for (let i = 0; i < 3; i++) equal(registries.has("a.example"), false);
  }
  equal(new InsecureRegistries(`${path}/of/a/file`).has("a.example"), false);
  deepEqual(warnings.map(({ properties }) => properties.path), Array(warnings.length).fill(path));
  equal(new Set(warnings.map(({ properties }) => properties.reason)).size, warnings.length);
  ok(warnings.length >= 2, `${warnings.length} reasons`);
});

Deno.test("without a file only loopback belongs to them, and an image may not name it", async () => {
  await using _quiet = await quietLogs();
  const loopback = ["127.0.0.1:5000", "localhost", "[::1]:5000"];
  for (const json of [undefined, "{}", "{", "[]", '{"insecure-registries": "a"}']) {
    deepEqual(judge(json, [...loopback, "a", "10.0.0.1:5000"]), { has: loopback, names: [], frees: [] });
  }
});

Deno.test("the file is read once, and anew when it has changed", () => {
  using dir = TempDir.make();
  const path = dir.join("daemon.json");
  const registries = new InsecureRegistries(path);
  equal(registries.has("a.example"), false);
  const padding = "x".repeat(1 << 20);
  for (const hosts of [["a.example"], ["other.example"], []]) {
    Deno.writeTextFileSync(path, JSON.stringify({ "insecure-registries": hosts, padding }));
    const before = bytesRead();
    for (let i = 0; i < 10; i++) {
      for (const host of ["a.example", "other.example"]) equal(registries.has(host), hosts.includes(host));
    }
    ok(bytesRead() - before < 2 * padding.length);
  }
  Deno.removeSync(path);
  equal(registries.has("other.example"), false);
});

/** Bytes that this process has read in all. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(Deno.readTextFileSync("/proc/self/io"))?.[1]);
}

import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, OpenedBackend, refuses } from "../../tests/support/backend/backend_world.ts";
import type { Fault } from "../../tests/support/backend/faults.ts";
import { FileServer } from "../../tests/support/backend/file_server.ts";
import { concatenate } from "../base/bytes.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";

const ID = "3f".repeat(32);
const BYTES = distinctBytes(300_000);

function part(offset: number, length: number): Uint8Array {
  return BYTES.slice(offset, offset + length);
}

Deno.test("ranges and the size of a blob are read from <addr><path>/<id>", async () => {
  await using server = await FileServer.start();
  server.files.set(`/ns/repo/blobs/${ID}`, BYTES);
  for (const [addr, path] of [["", "/ns/repo/blobs"], ["/", "ns/repo/blobs/"], ["/ns/repo", "/blobs"]] as const) {
    using opened = OpenedBackend.open("http-proxy", { addr: `http://${server.host}${addr}`, path });
    const blob = opened.backend.blob(ID);
    assert.equal(await blob.size(), BYTES.length);
    assert.deepEqual(await blob.read(70_000, 5, ON_DEMAND), part(70_000, 5));
    assert.deepEqual(await blob.read(0, BYTES.length, ON_DEMAND), BYTES);
    assert.equal(opened.backend.description, `http-proxy http://${server.host}/ns/repo/blobs/`);
  }
  server.files.set(`/${ID}`, BYTES);
  using opened = OpenedBackend.open("http-proxy", { addr: `http://${server.host}` });
  assert.equal(await opened.backend.blob(ID).size(), BYTES.length);
});

Deno.test("a Unix socket serves one blob at its root, whatever the id, over kept connections", async () => {
  using temp = TempDir.make();
  const path = temp.join("blobs.sock");
  await using server = await FileServer.start(path);
  server.files.set("/", BYTES);
  using opened = OpenedBackend.open("http-proxy", { addr: path, path: "/ignored" });
  const blob = opened.backend.blob(ID);
  assert.equal(await blob.size(), BYTES.length);
  for (let i = 0; i < 3; i++) assert.deepEqual(await blob.read(i, 9, ON_DEMAND), part(i, 9));
  assert.deepEqual(new Set(server.requests.map(({ url }) => url)), new Set(["/"]));
  assert.equal(server.connections, 1);
  assert.equal(opened.backend.description, `http-proxy ${path}`);
});

Deno.test("a blob is streamed in one request, and after a lost connection from where it was lost", async () => {
  await using server = await FileServer.start();
  server.files.set(`/${ID}`, BYTES);
  using opened = OpenedBackend.open("http-proxy", { addr: `http://${server.host}` });
  const blob = opened.backend.blob(ID);
  const streamed = async () => {
    const pieces = await Array.fromAsync(blob.stream?.(BYTES.length, AbortSignal.timeout(30_000)) ?? []);
    assert.deepEqual(concatenate(pieces), BYTES);
    return server.requests.splice(0).map(({ headers }) => headers.range);
  };
  assert.deepEqual(await streamed(), [undefined]);
  server.faults.push({ kind: "truncate", keep: 100_000 });
  assert.deepEqual(await streamed(), [undefined, `bytes=100000-${BYTES.length - 1}`]);
  server.faults.push({ kind: "truncate", keep: 100_000 }, { kind: "whole" });
  assert.equal((await streamed()).length, 2);
});

Deno.test("two Unix sockets are two servers", async () => {
  using temp = TempDir.make();
  for (const [index, name] of ["a.sock", "b.sock"].entries()) {
    await using server = await FileServer.start(temp.join(name));
    server.files.set("/", BYTES.slice(index));
    using opened = OpenedBackend.open("http-proxy", { addr: temp.join(name) });
    assert.deepEqual(await opened.backend.blob(ID).read(0, 9, ON_DEMAND), part(index, 9));
  }
});

Deno.test("a socket without a server is unavailable, and reads work once it is served", async () => {
  using temp = TempDir.make();
  const path = temp.join("late.sock");
  using opened = OpenedBackend.open("http-proxy", { addr: path }, { retries: 0 });
  await refuses(opened.backend.blob(ID).read(0, 1, ON_DEMAND), "unavailable", /late\.sock/);
  await using server = await FileServer.start(path);
  server.files.set("/", BYTES);
  assert.deepEqual(await opened.backend.blob(ID).read(0, 1, ON_DEMAND), part(0, 1));
});

Deno.test("user and password of the address are sent but never shown", async () => {
  await using server = await FileServer.start();
  using opened = OpenedBackend.open("http-proxy", { addr: `http://bob:s3cr%65t%zz@${server.host}` }, { retries: 0 });
  const error = await refuses(opened.backend.blob(ID).read(0, 1, ON_DEMAND), "not-found", /HTTP 404 from 127/);
  assert.equal(server.requests[0]?.headers.authorization, `Basic ${btoa("bob:s3cret%zz")}`);
  const shown = Deno.inspect([error, opened.backend.description, opened.backend.blob(ID).description], { depth: 9 });
  assert.ok(!/s3cr/.test(shown), shown);
});

for (
  const fault of [
    { kind: "truncate", keep: 10 },
    { kind: "content-range", value: undefined },
    { kind: "resize", by: 1 },
    { kind: "status", status: 503 },
    { kind: "reset" },
  ] as const satisfies Fault[]
) {
  Deno.test(`a request is retried after ${fault.kind}`, async () => {
    await using server = await FileServer.start();
    server.files.set(`/${ID}`, BYTES);
    server.faults.push(fault, fault);
    using opened = OpenedBackend.open("http-proxy", { addr: `http://${server.host}` }, { retries: 2 });
    assert.deepEqual(await opened.backend.blob(ID).read(100, 100, ON_DEMAND), part(100, 100));
    assert.equal(server.faults.length, 0);
  });
}

Deno.test("a redirect is not followed, and a refusal is not retried", async () => {
  await using server = await FileServer.start();
  server.files.set(`/${ID}`, BYTES);
  using opened = OpenedBackend.open("http-proxy", { addr: `http://${server.host}` }, { retries: 3 });
  const blob = opened.backend.blob(ID);
  server.faults.push({ kind: "redirect", location: `/${ID}` }, { kind: "status", status: 403, body: "s3cret" });
  await refuses(blob.read(0, 1, ON_DEMAND), "unavailable", /HTTP 307 from 127/);
  const error = await refuses(blob.read(0, 1, ON_DEMAND), "unauthorized", /HTTP 403 from 127\.0\.0\.1:\d+$/);
  assert.ok(!Deno.inspect(error, { depth: 9 }).includes("s3cret"));
  assert.equal(server.requests.length, 2);
});

Deno.test("an address of an unknown form is refused by name", () => {
  for (const addr of ["h:80", "ftp://h", "relative.sock", "http://h?x=1", "http://h#x", "http://[bad", "unix:/x"]) {
    assert.throws(
      () => OpenedBackend.open("http-proxy", { addr }),
      /^NydusGdError: Cannot open backend http-proxy: its/,
    );
  }
  assert.throws(() => OpenedBackend.open("http-proxy", { path: "/x" }), /addr is missing/);
  assert.throws(() => OpenedBackend.open("http-proxy", { addr: "" }), /addr is empty/);
});

/**
 * The keys common to all HTTP backends, tested with each of them through nydusd's configuration.
 *
 * @module
 */
import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, OpenedBackend, refuses } from "../../tests/support/backend/backend_world.ts";
import { FakeBucket } from "../../tests/support/backend/fake_bucket.ts";
import { FakeProxy } from "../../tests/support/backend/fake_proxy.ts";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import type { Fault } from "../../tests/support/backend/faults.ts";
import { FileServer } from "../../tests/support/backend/file_server.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { CERTIFICATE_FILE, TLS } from "../../tests/support/backend/tls_fixture.ts";

const BYTES = distinctBytes(5_000);
const TYPES = ["registry", "s3", "oss", "http-proxy"] as const;
type Type = (typeof TYPES)[number];

/** A server of one blob. */
interface Server {
  readonly id: string;
  readonly faults: Fault[];
  /** Number of "GET" requests received. */
  gets(): number;
  /** The section of the configuration for this server. */
  readonly section: Readonly<Record<string, unknown>>;
  /** The same section with another address and scheme. */
  at(host: string, scheme: "http" | "https"): Readonly<Record<string, unknown>>;
}

async function withServer(type: Type, isTls: boolean, test: (server: Server) => Promise<void>): Promise<void> {
  await using _quiet = await quietLogs();
  const tls = isTls ? { tls: TLS } : {};
  const scheme = isTls ? "https" : "http";
  if (type === "registry") {
    await using registry = await FakeRegistry.start(tls);
    const at = (host: string, scheme: string) => ({ host, scheme, repo: "team/app" });
    const id = registry.addBlob(BYTES);
    const { faults } = registry;
    await test({ id, faults, gets: () => registry.count("GET", "/v2"), section: at(registry.host, scheme), at });
  } else if (type === "http-proxy") {
    await using server = await FileServer.start(undefined, isTls ? TLS : undefined);
    server.files.set("/b/blob", BYTES);
    const at = (host: string, scheme: string) => ({ addr: `${scheme}://${host}`, path: "/b" });
    const { faults, requests } = server;
    await test({ id: "blob", faults, gets: () => requests.length, section: at(server.host, scheme), at });
  } else {
    await using bucket = await FakeBucket.start(type, tls);
    bucket.objects.set("blob", BYTES);
    const at = (host: string, scheme: string) =>
      bucket.section({ endpoint: type === "oss" ? host.replace("127.0.0.1", "localhost") : host, scheme });
    const { faults, requests } = bucket;
    await test({ id: "blob", faults, gets: () => requests.length, section: bucket.section(), at });
  }
}

function portOf({ section }: Server): number {
  return Number(/:(\d+)"/.exec(JSON.stringify(section))?.[1]);
}

/** Reads a part of the blob as configured. */
async function read(type: Type, { id }: Server, section: Record<string, unknown>): Promise<void> {
  using opened = OpenedBackend.open(type, section, { retries: 0 });
  assert.deepEqual(await opened.backend.blob(id).read(10, 100, ON_DEMAND), BYTES.slice(10, 110));
}

for (const type of TYPES) {
  Deno.test(`${type}: scheme, skip_verify and ca_cert_files set the protocol and the trusted certificates`, async () => {
    await withServer(type, true, async (server) => {
      const { section } = server;
      const refused = read(type, server, { ...section });
      const { hint } = await refuses(refused, "unavailable", /certificate of .* is not trusted/);
      assert.match(hint ?? "", /\/ca\.crt or ca_cert_files, or correct the clock here$/);
      await read(type, server, { ...section, skip_verify: true });
      // the certificate does not cover the host of an OSS bucket
      if (type !== "oss") await read(type, server, { ...section, ca_cert_files: [CERTIFICATE_FILE] });
      if (type !== "http-proxy") await read(type, server, { ...section, scheme: "", skip_verify: true });
    });
    await withServer(type, false, async (server) => {
      await read(type, server, { ...server.section });
      const https = server.at(`127.0.0.1:${portOf(server)}`, "https");
      await refuses(read(type, server, { ...https }), "unavailable", /does not speak TLS/);
    });
  });

  Deno.test(`${type}: timeout limits a whole request, connect_timeout its connection`, () =>
    withServer(type, false, async (server) => {
      server.faults.push({ kind: "stall", after: 20 });
      const slow = read(type, server, { ...server.section, timeout: 1 });
      await refuses(slow, "unavailable", /transfer from .* timed out after 1000 ms/);
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const section = server.at(`127.0.0.1:${silent.addr.port}`, "https");
      const connecting = read(type, server, { ...section, connect_timeout: 1 });
      await refuses(connecting, "unavailable", /connect from .* timed out after 1000 ms/);
    }));

  Deno.test(`${type}: proxy.url is used, and proxy.fallback decides about its failures`, () =>
    withServer(type, false, async (server) => {
      await using proxy = await FakeProxy.start({ hosts: { "images.localhost": portOf(server) } });
      const withProxy = (keys: Record<string, unknown>) => ({ ...server.section, proxy: { url: proxy.url, ...keys } });
      await read(type, server, withProxy({}));
      assert.equal(proxy.requests.length, 1);
      proxy.fault = { kind: "status", status: 502 };
      await read(type, server, withProxy({}));
      const before = server.gets();
      await refuses(read(type, server, withProxy({ fallback: false })), "unavailable", /proxy 127\.0\.0\.1:\d+/);
      assert.equal(server.gets(), before, "no request bypasses the proxy");
    }));

  Deno.test(`${type}: proxy.use_http requests http from the proxy where the backend is https`, () =>
    withServer(type, false, async (server) => {
      await using proxy = await FakeProxy.start({ hosts: { "images.localhost": portOf(server) } });
      const section = server.at(`127.0.0.1:${portOf(server)}`, "https");
      await read(type, server, { ...section, proxy: { url: proxy.url, use_http: true, fallback: false } });
      assert.ok(proxy.requests.every(({ target }) => target.startsWith("http://")));
    }));
}

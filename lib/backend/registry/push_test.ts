/**
 * Pushes to a registry that forgets, answers too late, or declines.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { LogRecord } from "@logtape/logtape";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { until } from "../../../tests/support/until.ts";
import { DEFAULT_FETCH_OPTIONS, type FetchOptions } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { TransferError } from "../http/transfer_error.ts";
import { ANONYMOUS } from "./keychain.ts";
import { blobSize, mountBlob, pushBlob, pushManifest } from "./push.ts";
import { RegistryTransport } from "./transport.ts";

/** Larger than what may be sent in vain over a connection that was closed while idle. */
const BLOB = new Uint8Array(9 << 20);
const DIGEST = `sha256:${createHash("sha256").update(BLOB).digest("hex")}`;
const MANIFEST = { mediaType: "application/vnd.oci.image.manifest.v1+json", bytes: new Uint8Array(9) };
const signal = new AbortController().signal;

/** Answers one kind of request instead of the registry. @param count how many there were before */
type Misbehaviour = (response: ServerResponse, count: number, server: Server) => "as usual" | void;

/** Part of a request by which {@link Misbehaviour} is chosen: "PUT blob", "POST mount". */
type Kind = "HEAD blob" | "POST upload" | "POST mount" | "PUT blob" | "PUT manifest";

function kindOf({ method, url = "" }: IncomingMessage): Kind {
  if (method === "HEAD") return "HEAD blob";
  if (method === "POST") return url.includes("mount=") ? "POST mount" : "POST upload";
  return url.includes("/manifests/") ? "PUT manifest" : "PUT blob";
}

/** Pushes with `push` into a registry; returns the kinds of the requests, in order. */
async function requestsOf(
  push: (repository: RegistryTransport) => Promise<unknown>,
  misbehaviour: Partial<Record<Kind, Misbehaviour>>,
  options: Partial<FetchOptions> = {},
): Promise<Kind[]> {
  const seen: Kind[] = [];
  let stored: number | undefined;
  const server = createServer(async (request, response) => {
    const kind = kindOf(request);
    const count = seen.filter((each) => each === kind).length;
    seen.push(kind);
    let bytes = 0;
    for await (const piece of request) bytes += (piece as Uint8Array).length;
    if (kind === "PUT blob") stored = bytes;
    if ((misbehaviour[kind] ?? (() => "as usual"))(response, count, server) !== "as usual") return;
    const isAbsent = kind === "HEAD blob" && stored === undefined;
    response.writeHead(isAbsent ? 404 : kind === "HEAD blob" ? 200 : kind === "POST upload" ? 202 : 201, {
      location: "/v2/app/blobs/uploads/1?state=a",
      "content-length": kind === "HEAD blob" ? stored ?? 0 : 0,
    }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, ...options });
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const repository = { host, repo: "app", keychain: ANONYMOUS, scheme: "http" } as const;
    await push(new RegistryTransport({ ...repository, http, exchange: {}, tokenExchange: {} }));
  } finally {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
  return seen;
}

/** Refuses the first requests with this status and error code. */
function refuse(times: number, status: number, code: string): Misbehaviour {
  return (response, count) => {
    if (count >= times) return "as usual";
    response.writeHead(status).end(JSON.stringify({ errors: [{ code }] }));
  };
}

Deno.test("an upload that the registry does not know any more is begun again", async () => {
  const requests = await requestsOf((repository) => pushBlob(repository, DIGEST, BLOB, signal), {
    "HEAD blob": (response) => void response.writeHead(404).end(),
    "PUT blob": refuse(1, 404, "BLOB_UPLOAD_UNKNOWN"),
  });
  assert.deepEqual(requests, ["POST upload", "PUT blob", "HEAD blob", "POST upload", "PUT blob"]);
});

Deno.test("an upload that the registry does not begin yet costs no further request", async () => {
  const requests = await requestsOf((repository) => pushBlob(repository, DIGEST, BLOB, signal), {
    "POST upload": refuse(2, 429, "TOOMANYREQUESTS"),
  });
  assert.deepEqual(requests, ["POST upload", "POST upload", "POST upload", "PUT blob"]);
});

Deno.test("a blob that arrived although the answer was lost is not sent again", async () => {
  const requests = await requestsOf((repository) => pushBlob(repository, DIGEST, BLOB, signal), {
    "PUT blob": (response) => void response.socket?.destroy(),
  });
  assert.deepEqual(requests, ["POST upload", "PUT blob", "HEAD blob"]);
});

Deno.test("an upload is complete with another status than 201 if the registry has the blob", async () => {
  for (const status of [200, 202, 204]) {
    const requests = await requestsOf((repository) => pushBlob(repository, DIGEST, BLOB, signal), {
      "PUT blob": (response) => void response.writeHead(status).end(),
    });
    assert.deepEqual(requests, ["POST upload", "PUT blob", "HEAD blob"]);
  }
});

Deno.test("a page in place of the registry's answer does not complete an upload", () => {
  const answerPage: Misbehaviour = (response) =>
    void response.writeHead(200, { "content-type": "text/html", "content-length": 6 }).end("<html>");
  return assert.rejects(
    requestsOf((repository) => pushBlob(repository, DIGEST, BLOB, signal), {
      "PUT blob": answerPage,
      "HEAD blob": answerPage,
    }),
    /^NydusGdError: Cannot push blob \S+ .*: HTTP 200 from \S+, which does not have the blob then$/,
  );
});

Deno.test("a server that accepts no blob of that size is named with what to change", async () => {
  await requestsOf(async (repository) => {
    await assert.rejects(pushBlob(repository, DIGEST, BLOB, signal), (error) => {
      assert.ok(error instanceof TransferError);
      assert.match(error.message, /: HTTP 413 from \S+$/);
      assert.equal(error.hint, "have the server, or the proxy before it, accept requests of 9.44 MB");
      return true;
    });
  }, { "PUT blob": refuse(1, 413, "") });
});

Deno.test("a registry may decline to mount a blob with any status", async () => {
  for (const status of [400, 403, 404, 405, 501]) {
    await requestsOf(async (repository) => {
      assert.equal(await mountBlob(repository, DIGEST, "other", signal), false);
    }, { "POST mount": refuse(Infinity, status, "UNSUPPORTED") });
  }
});

Deno.test("a manifest is pushed again until the registry shows what it refers to", async () => {
  for (const status of [400, 404]) {
    const requests = await requestsOf((repository) => pushManifest(repository, "1", MANIFEST, signal), {
      "PUT manifest": refuse(2, status, "MANIFEST_BLOB_UNKNOWN"),
    });
    assert.deepEqual(requests, ["PUT manifest", "PUT manifest", "PUT manifest"]);
  }
});

Deno.test("a page in place of the registry's answer does not count as a push", () =>
  assert.rejects(
    requestsOf((repository) => pushManifest(repository, "1", MANIFEST, signal), {
      "PUT manifest": (response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
    }),
    /^NydusGdError: Cannot push manifest 1 .*: \S+ answers with a page, not as a registry$/,
  ));

/** The first request stops the registry; it is back once a warning tells that it refuses connections. */
function restart(warnings: readonly LogRecord[]): Misbehaviour {
  return (_, count, server) => {
    if (count > 0) return "as usual";
    const { port } = server.address() as AddressInfo;
    server.close();
    server.closeAllConnections();
    const isMissed = () => warnings.some(({ properties }) => /refused$/.test(String(properties.error)));
    void until("the registry is missed", isMissed).then(() => server.listen(port, "127.0.0.1"));
  };
}

const PATIENT = { retries: 0, patienceMs: 3_600_000 };

Deno.test("a push outlasts a registry that is restarted, and sends anew what did not arrive", async () => {
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  const blob = await requestsOf(async (repository) => {
    assert.equal(await blobSize(repository, DIGEST, signal), undefined);
    await pushBlob(repository, DIGEST, BLOB, signal);
  }, {
    "HEAD blob": (response) => void response.writeHead(404).end(),
    "PUT blob": restart(warnings),
  }, PATIENT);
  assert.deepEqual(blob, ["HEAD blob", "POST upload", "PUT blob", "HEAD blob", "POST upload", "PUT blob"]);
  warnings.length = 0;
  const manifest = await requestsOf(
    async (repository) => {
      await blobSize(repository, DIGEST, signal);
      await pushManifest(repository, "1", MANIFEST, signal);
    },
    { "PUT manifest": restart(warnings) },
    PATIENT,
  );
  assert.deepEqual(manifest, ["HEAD blob", "PUT manifest", "PUT manifest"]);
});

Deno.test("a registry that has never answered is not waited for", async () => {
  const warnings: LogRecord[] = [];
  await using _quiet = await quietLogs(warnings);
  const pushed = requestsOf(
    (repository) => pushManifest(repository, "1", MANIFEST, signal),
    { "PUT manifest": (response) => void response.socket?.destroy() },
    PATIENT,
  );
  await assert.rejects(pushed, /^NydusGdError: Cannot push manifest 1 .*: connection to \S+ lost$/);
  assert.deepEqual(warnings, []);
});

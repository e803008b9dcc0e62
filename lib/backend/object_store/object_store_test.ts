import assert from "node:assert/strict";
import { distinctBytes, ON_DEMAND, OpenedBackend, refuses } from "../../../tests/support/backend/backend_world.ts";
import {
  ACCESS_KEY,
  BUCKET,
  FakeBucket,
  type FakeBucketOptions,
  type Protocol,
} from "../../../tests/support/backend/fake_bucket.ts";
import { CERTIFICATE_FILE, TLS } from "../../../tests/support/backend/tls_fixture.ts";
import type { Fault } from "../../../tests/support/backend/faults.ts";
import type { FetchOptions } from "../http/fetch_options.ts";

const ID = "3f".repeat(32);
const BYTES = distinctBytes(300_000);
const PROTOCOLS = ["s3", "oss"] as const;
const HOUR_MS = 3_600_000;

interface WorldOptions extends FakeBucketOptions {
  readonly section?: Record<string, unknown>;
  readonly fetch?: Partial<FetchOptions>;
}

interface World {
  readonly bucket: FakeBucket;
  readonly backend: OpenedBackend["backend"];
}

async function withBucket(
  protocol: Protocol,
  { section = {}, fetch = { retries: 0 }, ...options }: WorldOptions,
  test: (world: World) => Promise<void>,
): Promise<void> {
  await using bucket = await FakeBucket.start(protocol, options);
  bucket.objects.set(`${section.object_prefix ?? ""}${ID}`, BYTES);
  using opened = OpenedBackend.open(protocol, bucket.section(section), fetch);
  await test({ bucket, backend: opened.backend });
}

function part(offset: number, length: number): Uint8Array {
  return BYTES.slice(offset, offset + length);
}

const MENDED: readonly [name: string, fault: Fault][] = [
  ["a body that is cut off", { kind: "truncate", keep: 10 }],
  ["a body that is too short", { kind: "resize", by: -1 }],
  ["a body that is too long", { kind: "resize", by: 1 }],
  ["another range", { kind: "content-range", value: `bytes 101-200/${BYTES.length}` }],
  ["a range that begins earlier", { kind: "content-range", value: `bytes 99-199/${BYTES.length}` }],
  ["a range that ends later", { kind: "content-range", value: `bytes 100-200/${BYTES.length}` }],
  ["no Content-Range", { kind: "content-range", value: undefined }],
  ["HTTP 500", { kind: "status", status: 500 }],
  ["SlowDown", { kind: "status", status: 503, body: "<Error><Code>SlowDown</Code></Error>" }],
  ["RequestTimeout", { kind: "status", status: 400, body: "<Error><Code>RequestTimeout</Code></Error>" }],
  ["a lost connection", { kind: "reset" }],
];

for (const protocol of PROTOCOLS) {
  Deno.test(`${protocol}: ranges and the size of a blob are read with signed requests`, () =>
    withBucket(protocol, {}, async ({ bucket, backend }) => {
      const blob = backend.blob(ID);
      assert.equal(await blob.size(), BYTES.length);
      assert.deepEqual(await blob.read(0, BYTES.length, ON_DEMAND), BYTES);
      assert.deepEqual(await blob.read(70_000, 5, ON_DEMAND), part(70_000, 5));
      assert.equal((await blob.read(5, 0, ON_DEMAND)).length, 0);
      assert.ok(bucket.requests.every(({ headers }) => headers.authorization !== undefined));
    }));

  for (const prefix of ["nydus/", "/a//b-", "ä ö+%2F!'()*~&=?#", "x.."]) {
    Deno.test(`${protocol}: object_prefix ${prefix} is put before the id unchanged`, () =>
      withBucket(protocol, { section: { object_prefix: prefix } }, async ({ backend }) => {
        assert.deepEqual(await backend.blob(ID).read(9, 9, ON_DEMAND), part(9, 9));
      }));
  }

  for (const [name, fault] of MENDED) {
    Deno.test(`${protocol}: a request is retried after ${name}`, () =>
      withBucket(protocol, { fetch: { retries: 2 } }, async ({ bucket, backend }) => {
        bucket.faults.push(fault, fault);
        assert.deepEqual(await backend.blob(ID).read(100, 100, ON_DEMAND), part(100, 100));
        assert.equal(bucket.requests.length, 3);
      }));
  }

  Deno.test(`${protocol}: a silent server is given up after the read timeout`, () =>
    withBucket(protocol, { fetch: { retries: 0, readTimeoutMs: 500 } }, async ({ bucket, backend }) => {
      bucket.faults.push({ kind: "stall" }, { kind: "stall", after: 20 });
      const blob = backend.blob(ID);
      await refuses(blob.read(0, 100, ON_DEMAND), "unavailable", /read from .* timed out after 500 ms/);
      await refuses(blob.read(0, 100, ON_DEMAND), "unavailable", /read from .* timed out after 500 ms/);
      assert.deepEqual(await blob.read(0, 100, ON_DEMAND), part(0, 100));
    }));

  Deno.test(`${protocol}: a whole object in place of a range is cut to the range`, () =>
    withBucket(protocol, {}, async ({ bucket, backend }) => {
      bucket.faults.push({ kind: "whole" });
      assert.deepEqual(await backend.blob(ID).read(1000, 50, ON_DEMAND), part(1000, 50));
    }));

  Deno.test(`${protocol}: without keys a public bucket is read unsigned, a private one needs keys`, async () => {
    const section = { access_key_id: "", access_key_secret: "" };
    await withBucket(protocol, { isPublic: true, section }, async ({ bucket, backend }) => {
      assert.equal(await backend.blob(ID).size(), BYTES.length);
      assert.equal(bucket.requests[0]?.headers.authorization, undefined);
    });
    await withBucket(protocol, { section }, async ({ backend }) => {
      const error = await refuses(backend.blob(ID).size(), "unauthorized", /the bucket is not public$/);
      assert.equal(error.hint, "set access_key_id and access_key_secret");
    });
  });

  const refusals: readonly [name: string, options: WorldOptions, code: string, words: RegExp, hint: RegExp][] = [
    [
      "an unknown access key",
      { section: { access_key_id: "other" } },
      "unauthorized",
      /HTTP 403 InvalidAccessKeyId from .*: the access key is unknown to the server$/,
      /access_key_id/,
    ],
    [
      "a wrong secret",
      { section: { access_key_secret: "other-s3cr/et+EXAMPLE" } },
      "unauthorized",
      /HTTP 403 SignatureDoesNotMatch from .*: the secret does not match the access key$/,
      /access_key_secret/,
    ],
    [
      "a key that may not read",
      { isForbidden: true },
      "unauthorized",
      /HTTP 403 AccessDenied from .*: the access key may not read from bucket images$/,
      /list the bucket/,
    ],
    [
      "a clock that is behind",
      { clockAheadMs: 2 * HOUR_MS },
      "unauthorized",
      /HTTP 403 RequestTimeTooSkewed from .*: this machine's clock is 120 minutes behind the server's$/,
      /timedatectl/,
    ],
    [
      "a clock that is ahead",
      { clockAheadMs: -HOUR_MS },
      "unauthorized",
      /this machine's clock is 60 minutes ahead of the server's$/,
      /timedatectl/,
    ],
    [
      "a bucket that does not exist",
      { section: { bucket_name: "elsewhere" } },
      "not-found",
      /HTTP 404 NoSuchBucket from .*: there is no bucket elsewhere$/,
      /bucket_name/,
    ],
  ];
  for (const [name, options, code, words, hint] of refusals) {
    Deno.test(`${protocol}: ${name} is reported by reads and by the size, with a hint and without secrets`, () =>
      withBucket(protocol, options, async ({ backend }) => {
        const blob = backend.blob(ID);
        for (const asked of [() => blob.size(), () => blob.read(0, 9, ON_DEMAND)]) {
          const error = await refuses(asked(), code, words);
          assert.match(error.message, new RegExp(`^Cannot read blob ${ID} from ${protocol} `));
          assert.match(error.hint ?? "", hint);
          assert.ok(!Deno.inspect([error, backend], { depth: 9 }).includes(ACCESS_KEY.secret));
        }
      }));
  }

  Deno.test(`${protocol}: a missing object is not-found, without a retry`, () =>
    withBucket(protocol, { fetch: { retries: 3 } }, async ({ bucket, backend }) => {
      const blob = backend.blob("0".repeat(64));
      const error = await refuses(blob.read(0, 1, ON_DEMAND), "not-found", /: bucket images has no such object$/);
      assert.equal(error.hint, "check object_prefix");
      assert.equal(bucket.requests.length, 1);
      await refuses(blob.size(), "not-found", /NoSuchKey/);
    }));

  Deno.test(`${protocol}: consecutive requests share one connection, and each is signed anew`, () =>
    withBucket(protocol, {}, async ({ bucket, backend }) => {
      const blob = backend.blob(ID);
      await blob.size();
      for (let i = 0; i < 3; i++) await blob.read(i, 70_000, ON_DEMAND);
      assert.equal(bucket.connections, 1);
    }));
}

Deno.test("s3: the region that the server reports is named, with the endpoint if it reports one", () =>
  withBucket("s3", {}, async ({ bucket, backend }) => {
    const body =
      `<Error><Code>PermanentRedirect</Code><Endpoint>${BUCKET}.s3.eu-west-1.amazonaws.com</Endpoint></Error>`;
    bucket.faults.push(
      { kind: "status", status: 301, headers: { "x-amz-bucket-region": "eu-west-1" }, body },
      {
        kind: "status",
        status: 400,
        body: "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region>",
      },
    );
    const blob = backend.blob(ID);
    const first = await refuses(blob.read(0, 1, ON_DEMAND), "unavailable", /is in region eu-west-1, not eu-central-1$/);
    assert.equal(first.hint, "set region to eu-west-1 and endpoint to s3.eu-west-1.amazonaws.com");
    const second = await refuses(
      blob.read(0, 1, ON_DEMAND),
      "unavailable",
      /is in region us-west-2, not eu-central-1$/,
    );
    assert.equal(second.hint, "set region to us-west-2");
  }));

Deno.test("oss: the endpoint that the server reports is named", () =>
  withBucket("oss", {}, async ({ bucket, backend }) => {
    const body = "<Error><Code>AccessDenied</Code><Message>must be addressed using the specified endpoint</Message>" +
      `<Endpoint>oss-cn-shanghai.aliyuncs.com</Endpoint></Error>`;
    bucket.faults.push({ kind: "status", status: 403, body });
    const error = await refuses(backend.blob(ID).read(0, 1, ON_DEMAND), "unavailable", /the bucket is at oss-cn-shang/);
    assert.equal(error.hint, "set endpoint to oss-cn-shanghai.aliyuncs.com");
  }));

const ODD_BODIES: readonly [name: string, body: string, words: RegExp][] = [
  ["no XML", "<html>login</html>", /HTTP 403 from 127\.0\.0\.1:\d+$/],
  ["no body", "", /HTTP 403 from 127\.0\.0\.1:\d+$/],
  ["XML that is cut off", "<Error><Code>AccessDenied</Code><Mess", /HTTP 403 AccessDenied from/],
  ["a namespace and spaces", `<a:Error xmlns:a="x"><a:Code >\n AccessDenied </a:Code></a:Error>`, /AccessDenied from/],
  ["an invalid code", "<Error><Code>no; code!</Code></Error>", /HTTP 403 from 127\.0\.0\.1:\d+$/],
  ["a code without an end", `<Code>${"A".repeat(5000)}`, /HTTP 403 from 127\.0\.0\.1:\d+$/],
  ["a body without an end", "<".repeat(200_000) + "<Code>AccessDenied</Code>", /HTTP 403 from 127\.0\.0\.1:\d+$/],
];
for (const [name, body, words] of ODD_BODIES) {
  Deno.test(`s3: a refusal with ${name} is reported as far as it can be parsed`, () =>
    withBucket("s3", {}, async ({ bucket, backend }) => {
      bucket.faults.push({ kind: "status", status: 403, body });
      await refuses(backend.blob(ID).read(0, 1, ON_DEMAND), "unauthorized", words);
    }));
}

Deno.test("s3: an archived object and an unknown error code are reported by name", () =>
  withBucket("s3", {}, async ({ bucket, backend }) => {
    const answer = (code: string): Fault => ({
      kind: "status",
      status: 409,
      body: `<Error><Code>${code}</Code></Error>`,
    });
    bucket.faults.push(answer("InvalidObjectState"), answer("SomethingNew"));
    await refuses(
      backend.blob(ID).read(0, 1, ON_DEMAND),
      "unavailable",
      /InvalidObjectState .*the object is archived$/,
    );
    await refuses(backend.blob(ID).read(0, 1, ON_DEMAND), "unavailable", /HTTP 409 SomethingNew from 127/);
  }));

Deno.test("s3: a certificate is trusted if ca_cert_files has its CA, or with skip_verify", async () => {
  for (
    const section of [{ ca_cert_files: [CERTIFICATE_FILE] }, { skip_verify: true }, { scheme: "", skip_verify: true }]
  ) {
    await withBucket("s3", { tls: TLS, section }, async ({ backend }) => {
      assert.deepEqual(await backend.blob(ID).read(9, 9, ON_DEMAND), part(9, 9));
    });
  }
  await withBucket("s3", { tls: TLS }, async ({ bucket, backend }) => {
    await refuses(backend.blob(ID).read(9, 9, ON_DEMAND), "unavailable", /certificate of .* is not trusted/);
    assert.equal(bucket.requests.length, 0);
  });
});

Deno.test("oss: the certificate must be for the host name of the bucket", async () => {
  await withBucket("oss", { tls: TLS, section: { skip_verify: true } }, async ({ backend }) => {
    assert.equal(await backend.blob(ID).size(), BYTES.length);
  });
  await withBucket("oss", { tls: TLS, section: { ca_cert_files: [CERTIFICATE_FILE] } }, async ({ backend }) => {
    await refuses(backend.blob(ID).size(), "unavailable", /certificate of images\.localhost:\d+ is not trusted/);
  });
});

Deno.test("s3: a bucket that uses TLS by default is never requested over plain HTTP", () =>
  withBucket("s3", { section: { scheme: "" } }, async ({ bucket, backend }) => {
    await refuses(backend.blob(ID).size(), "unavailable", /does not speak TLS/);
    assert.equal(bucket.requests.length, 0);
  }));

Deno.test("s3: the configured timeout limits a request", () =>
  withBucket("s3", { section: { timeout: 1 } }, async ({ bucket, backend }) => {
    bucket.faults.push({ kind: "stall", after: 20 });
    await refuses(backend.blob(ID).read(0, 100, ON_DEMAND), "unavailable", /transfer .* timed out after 1000 ms/);
  }));

Deno.test("a bucket is described by its location, never by its keys", () => {
  const describe = (type: string, section: Record<string, unknown>) => {
    using opened = OpenedBackend.open(type, {
      endpoint: "store.example.com",
      bucket_name: "images",
      access_key_id: "id",
      access_key_secret: "secret",
      ...section,
    });
    return opened.backend.description;
  };
  assert.equal(describe("oss", { object_prefix: "nydus/" }), "oss images.store.example.com/nydus/");
  assert.equal(describe("s3", { region: "r", endpoint: "h:9000" }), "s3 h:9000/images");
  assert.equal(describe("s3", { region: "eu-west-1", endpoint: "" }), "s3 s3.eu-west-1.amazonaws.com/images");
  assert.equal(describe("s3", { region: "us-east-1", endpoint: "" }), "s3 s3.amazonaws.com/images");
});

Deno.test("configured keys that cannot form a request are refused by name", () => {
  const refused = (type: Protocol, section: Record<string, unknown>, words: RegExp) => {
    const whole = { endpoint: "h", bucket_name: "images", ...(type === "s3" ? { region: "r" } : {}), ...section };
    assert.throws(
      () => OpenedBackend.open(type, whole),
      (error) => error instanceof Error && words.test(error.message) && !error.message.includes("s3cret"),
      JSON.stringify(section),
    );
  };
  for (const type of PROTOCOLS) {
    refused(type, { endpoint: "https://h" }, new RegExp(`^Cannot open backend ${type}: its endpoint is not HOST`));
    refused(type, { endpoint: "u@h" }, /endpoint/);
    refused(type, { bucket_name: "../x" }, /bucket_name/);
    refused(type, { object_prefix: "a/../b" }, /object_prefix has a \. or \.\. segment/);
    refused(type, { access_key_id: "id" }, /has access_key_id without access_key_secret/);
    refused(type, { access_key_secret: "s3cret" }, /has access_key_secret without access_key_id/);
    refused(type, { access_key_id: "a\nb", access_key_secret: "s3cret" }, /access_key_id is not a single ASCII word/);
    refused(type, { ca_cert_files: ["/nonexistent/ca.pem"] }, /Cannot read certificate \/nonexistent\/ca\.pem/);
    refused(type, { endpoint: undefined }, /endpoint is missing/);
    refused(type, { bucket_name: "" }, /bucket_name is empty/);
    refused(type, { scheme: "ftp" }, /scheme must be one of/);
  }
  refused("s3", { region: undefined }, /region is missing/);
  refused("oss", { endpoint: "127.0.0.1:9000" }, /its endpoint is not a host name/);
  refused("oss", { endpoint: "[::1]:9000" }, /its endpoint is not a host name/);
});

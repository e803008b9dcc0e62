/**
 * Storing layers at a registry while others are converted.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ConvertKit, noise } from "../../../../tests/support/image/convert_kit.ts";
import { writeLayout } from "../../../../tests/support/image/layout_builder.ts";
import { file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";
import { PATIENCE_MS } from "../../../../tests/support/until.ts";

const LAYERS = [1, 2, 3].map((seed) => ({ tar: tarOf(file(`file-${seed}`, noise(20_000, seed))) }));

const TAG = "/v2/app/manifests/1";

/** Milliseconds after which something that has not happened does not happen. */
const NEVER_MS = PATIENCE_MS;

/** Registry that accepts everything. `onBlob` is awaited before the response to the blob with this number, from 0. */
function serveRegistry(onBlob: (number: number) => Promise<Response | void>) {
  const stored: string[] = [];
  let blobs = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    await request.arrayBuffer();
    if (request.method === "HEAD") return new Response(null, { status: 404 });
    if (request.method === "POST") return new Response(null, { status: 202, headers: { location: `${pathname}1` } });
    const refused = pathname.includes("/manifests/") ? undefined : await onBlob(blobs++);
    if (refused) return refused;
    stored.push(pathname);
    return new Response(null, { status: 201 });
  });
  return { host: `127.0.0.1:${server.addr.port}`, stored, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("a blob is stored while the next layer is converted, and all are before the image gets its name", async () => {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: LAYERS });
  const isConverted = LAYERS.map(() => Promise.withResolvers<boolean>());
  const late: number[] = [];
  await using registry = serveRegistry(async (number) => {
    const next = isConverted[number + 1];
    if (next === undefined) return;
    const timer = setTimeout(() => next.resolve(false), NEVER_MS);
    if (!await next.promise) late.push(number);
    clearTimeout(timer);
  });
  const onRead = (layer: string) => isConverted[Number(layer[0]) - 1]?.resolve(true);
  await kit.convert(kit.named("source"), `${registry.host}/app:1`, {}, {
    onEvent: (event) => event.event === "read" && onRead(event.layer),
  });
  assert.deepEqual(late, []);
  assert.equal(registry.stored.at(-1), TAG);
  assert.equal(registry.stored.length, LAYERS.length + 3 + 3);
});

Deno.test("a blob that cannot be stored ends the conversion with its error, and leaves no file", async () => {
  for (const refused of [0, 1, 2]) {
    using kit = new ConvertKit();
    await writeLayout(kit.temp.join("source"), { layers: LAYERS });
    await using registry = serveRegistry((number) => {
      return Promise.resolve(number === refused ? new Response(null, { status: 400 }) : undefined);
    });
    await assert.rejects(
      () => kit.convert(kit.named("source"), `${registry.host}/app:1`),
      /^NydusGdError: Cannot push blob sha256:\w+ to [^\n]*: HTTP 400/,
      `blob ${refused}`,
    );
    assert.ok(!registry.stored.includes(TAG));
    assert.deepEqual(Array.from(Deno.readDirSync(kit.temp.join("spool"))), []);
  }
});

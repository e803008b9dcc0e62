/**
 * Readers that keep nothing in a cache, at a registry that sends whole blobs, whatever range is asked for.
 *
 * @module
 */
import assert from "node:assert/strict";
import { file, tarOf } from "../../tests/support/archive/tar_builder.ts";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import { ConvertKit, noise } from "../../tests/support/image/convert_kit.ts";
import { anonymousAccess } from "../../tests/support/image/source_access.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { DEFAULT_FETCH_OPTIONS } from "../backend/http/fetch_options.ts";
import { HttpClient } from "../backend/http/http_client.ts";
import { openRegistry } from "../backend/open_backend.ts";
import { PagedMemory } from "../base/paged_memory.ts";
import { parseReference } from "../oci/reference.ts";
import { checkImage } from "./check/check_image.ts";
import { EarlierLayers } from "./convert/reuse/earlier_layers.ts";
import { LayerCache } from "./convert/reuse/layer_cache.ts";
import { RegistryTarget } from "./convert/target/registry_target.ts";
import { SpoolFolder } from "./convert/target/spool_folder.ts";
import { locateImage } from "./source/locate_image.ts";

const signal = new AbortController().signal;

/** A converted image whose data blob is too long for its end to be read by skipping what comes before. */
class Setup implements AsyncDisposable {
  readonly http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });

  private constructor(
    readonly kit: ConvertKit,
    readonly registry: FakeRegistry,
    readonly blobId: string,
    readonly blobBytes: number,
    private readonly quiet: AsyncDisposable,
  ) {}

  static async make(): Promise<Setup> {
    const quiet = await quietLogs();
    const kit = new ConvertKit();
    const { platforms } = await kit.convertLayers({ tar: tarOf(file("large", noise(9 << 20))) });
    const made = platforms[0]?.layers[0];
    assert.ok(made !== undefined);
    const registry = await FakeRegistry.start();
    registry.addBlob(Deno.readFileSync(kit.temp.join(`target/blobs/sha256/${made.blobId}`)));
    registry.lasting = { kind: "whole" };
    return new Setup(kit, registry, made.blobId, made.blobBytes, quiet);
  }

  /** Transfers of the whole blob. */
  get transfers(): number {
    return this.registry.requests.filter(({ method, headers }) => method === "GET" && headers.range === undefined)
      .length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.http[Symbol.dispose]();
    await this.registry[Symbol.asyncDispose]();
    this.kit[Symbol.dispose]();
    await this.quiet[Symbol.asyncDispose]();
  }
}

Deno.test("a check transfers a blob once, and verifies every chunk, if its server ignores ranges", async () => {
  await using setup = await Setup.make();
  const { kit, http, registry } = setup;
  const access = anonymousAccess(http, kit.temp.path);
  const { source, sourceName } = await locateImage({ what: kit.named("target") }, access, signal);
  const backend = openRegistry({ host: registry.host, repo: "app", scheme: "http" }, access.deps);
  const { findings, blobs } = await checkImage({
    ...{ source, sourceName, backend, against: undefined, chunks: true, folder: kit.temp.path, signal },
    onProgress: () => {},
  });
  assert.deepEqual(findings, []);
  assert.equal(blobs[0]?.verifiedChunks, (9 << 20) / 4096);
  assert.equal(setup.transfers, 1);
});

Deno.test("the bootstrap of an earlier layer is read with one transfer if the target ignores ranges", async () => {
  await using setup = await Setup.make();
  const { kit, http, registry, blobId, blobBytes } = setup;
  const { deps } = anonymousAccess(http, kit.temp.path);
  await using spool = new SpoolFolder(kit.temp.join("spool"));
  using memory = new PagedMemory(kit.temp.path);
  await using earlier = new EarlierLayers({
    target: new RegistryTarget(parseReference(`${registry.host}/app:1`), deps, spool),
    cache: new LayerCache(kit.temp.join("other")),
    known: new Map([["key", { blobId, blobBytes, places: [] }]]),
    ...{ memory, folder: kit.temp.path, signal },
  });
  const found = await earlier.find("key");
  assert.equal(found?.blobId, blobId);
  assert.equal(setup.transfers, 1);
});

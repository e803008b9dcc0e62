/**
 * Scratch directories, and conversions between OCI layouts in them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { join } from "node:path";
import { DEFAULT_FETCH_OPTIONS } from "../../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../../lib/backend/http/http_client.ts";
import { toByteString } from "../../../lib/base/bytes.ts";
import { checkImage } from "../../../lib/image/check/check_image.ts";
import {
  type ConvertedImage,
  type ConvertEvent,
  convertImage,
  type ConvertOptions,
} from "../../../lib/image/convert/convert_image.ts";
import { LayerCache } from "../../../lib/image/convert/reuse/layer_cache.ts";
import { openDictionary } from "../../../lib/image/convert/source/open_dictionary.ts";
import { openSource } from "../../../lib/image/convert/source/open_source.ts";
import { openTarget } from "../../../lib/image/convert/target/open_target.ts";
import { type RafsOptions, rafsOptions } from "../../../lib/image/convert/format/rafs_options.ts";
import { SpoolFolder } from "../../../lib/image/convert/target/spool_folder.ts";
import { locateImage } from "../../../lib/image/source/locate_image.ts";
import type { Platform } from "../../../lib/oci/platform.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import { type TestLayer, writeLayout } from "./layout_builder.ts";
import { anonymousAccess } from "./source_access.ts";
import { TempDir } from "../temp_dir.ts";

const signal = new AbortController().signal;

/** Bytes that no compressor shrinks, reproducible from `seed`. */
export function noise(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const key = new Uint8Array(16);
  new DataView(key.buffer).setUint32(0, seed);
  return new Uint8Array(createCipheriv("aes-128-ctr", key, new Uint8Array(16)).update(new Uint8Array(length)));
}

/** Options of a conversion by {@link ConvertKit}. */
export interface KitOptions extends Partial<ConvertOptions> {
  readonly platform?: Platform;
  /** Image whose chunks are reused. */
  readonly chunksOf?: string;
  readonly force?: boolean;
}

/** A scratch directory with image conversions in it, removed on disposal. */
export class ConvertKit implements Disposable {
  readonly temp = TempDir.make();
  readonly #http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  readonly #access = anonymousAccess(this.#http, this.temp.path);
  readonly events: ConvertEvent[] = [];

  async convert(
    source: string,
    target: string,
    options: Partial<RafsOptions> = {},
    { platform, chunksOf, force = false, ...rest }: KitOptions = {},
  ): Promise<ConvertedImage> {
    const { deps } = this.#access;
    const rafs = rafsOptions({ chunkSize: 4096, ...options });
    await using spool = new SpoolFolder(this.temp.join("spool"));
    const images = await openSource(source, platform, this.#access, signal);
    return await convertImage(images, {
      rafs,
      target: await openTarget(target, { deps, spool, source, force }),
      cache: new LayerCache(this.temp.join("records")),
      withOci: false,
      dictionary: chunksOf === undefined ? undefined : await openDictionary(chunksOf, rafs, this.#access, signal),
      onEvent: (event) => this.events.push(event),
      ...rest,
    }, signal);
  }

  /** Writes the image and converts it. */
  async convertLayers(...layers: TestLayer[]): Promise<ConvertedImage> {
    await writeLayout(this.temp.join("source"), { layers });
    return await this.convert(this.named("source"), this.named("target"));
  }

  named(folder: string): string {
    return `oci:${this.temp.join(folder)}:1`;
  }

  json(digest: string): Record<string, unknown> {
    return JSON.parse(Deno.readTextFileSync(join(this.temp.join("target/blobs"), digest.replace(":", "/"))));
  }

  /** Returns every path of a converted image after checking it to the last chunk. */
  async paths(image = this.named("target")): Promise<string[]> {
    const { source, backend } = await locateImage({ what: image }, this.#access, signal);
    const report = await checkImage({
      ...{ source, sourceName: source, against: undefined, backend, signal },
      chunks: true,
      folder: this.temp.path,
      onProgress: () => {},
    });
    assert.deepEqual(report.findings, []);
    return Array.from(walkTree(openBootstrap(Deno.readFileSync(source))), ({ path }) => toByteString(path));
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
    this.temp[Symbol.dispose]();
  }
}

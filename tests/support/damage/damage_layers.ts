/**
 * Kinds of damage to images whose data are in ordinary layers, and to encrypted images.
 *
 * | image | data | compression info |
 * |---|---|---|
 * | v6-zran | a gzip layer, inflated from its middle | a separate blob, with a window per start |
 * | v6-tar-ref | a tar, with digests of its chunks | a separate blob |
 * | v6-tarfs | a tar without digests except its name | none |
 * | v6-zstd-encrypt-batch | encrypted batches | in the blob, encrypted |
 *
 * @module
 */
import { type Damage, type FixtureCopy, Patch } from "./damage.ts";
import { DATA, each, type Kind, lost } from "./damage_data.ts";

/**
 * Kinds of damage whose place in the blob does not determine the affected chunks: in a stream, all that follow may be.
 */
const anyOf = (kinds: readonly Kind[]) =>
  kinds.map(([name, apply]): Kind => [name, (copy, index) => {
    apply(copy, index);
    return "any";
  }]);

/** Nothing may be readable of a blob that is verified as a whole. */
const allOf = (kinds: readonly Kind[]) =>
  kinds.map(([name, apply]): Kind => [name, (copy, index) => {
    apply(copy, index);
    return lost(copy, index);
  }]);

/** Changes the blob that holds the compression info. */
function ofMeta(name: string, change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | void): Kind {
  return [name, (copy: FixtureCopy, index) => {
    const id = copy.metaId(index);
    const bytes = copy.blobs.get(id);
    if (!(bytes instanceof Uint8Array)) throw new Error(`Cannot damage blob ${id}: it is gone`);
    copy.blobs.set(id, change(bytes) ?? bytes);
    return "any";
  }];
}

/** The compression info, the data around it, and the table of contents at the end of the blob. */
const META: readonly Kind[] = [
  ...[0, 0.25, 0.5, 0.9].map((part) =>
    ofMeta(`bit flipped at ${part * 100} %`, (bytes) => new Patch(bytes).flip(Math.floor(part * bytes.length)))
  ),
  ...[1, 120, 512, 4096].map((back) =>
    ofMeta(`bit flipped ${back} bytes before the end`, (bytes) => new Patch(bytes).flip(bytes.length - back))
  ),
  ...[1, 4096].map((less) => ofMeta(`cut by ${less} bytes`, (bytes) => bytes.slice(0, -less))),
  ofMeta("emptied", () => new Uint8Array()),
  ofMeta("zeros of its size", (bytes) => void bytes.fill(0)),
  ofMeta("shifted by one byte", (bytes) => void bytes.copyWithin(1, 0)),
];

/** Damage to structures that only these images have. */
export const LAYERS: readonly Damage[] = [
  ...each("tar layer", ["v6-tar-ref"], DATA.slice(1, 7)),
  ...each("plain tar", ["v6-tarfs"], allOf([...DATA.slice(1, 3), ...DATA.slice(7, 8)])),
  ...each("gzip layer", ["v6-zran"], anyOf(DATA.slice(0, 6))),
  ...each("blob of compression info", ["v6-zran"], META),
  ...each("encrypted blob", ["v6-zstd-encrypt-batch"], anyOf(DATA.slice(1, 4))),
];

/**
 * Names of image flags and blob features.
 *
 * @module
 */
import { BLOB_FEATURE, has, IMAGE_FLAG } from "../../rafs/format/flags.ts";

const NAMES: ReadonlyMap<Readonly<Record<string, number>>, readonly (readonly [number, string])[]> = new Map(
  [IMAGE_FLAG, BLOB_FEATURE].map((bits) => [bits, Object.entries(bits).map(([name, bit]) => [bit, dashed(name)])]),
);

/** "compression-zstd", "digest-blake3", "explicit-uid-gid" … */
export function imageFlagNames(flags: number): string[] {
  return namesOf(IMAGE_FLAG, flags);
}

/** "aligned", "chunk-info-v2", "has-toc" … */
export function blobFeatureNames(features: number): string[] {
  return namesOf(BLOB_FEATURE, features);
}

function namesOf(bits: Readonly<Record<string, number>>, value: number): string[] {
  return (NAMES.get(bits) ?? []).filter(([bit]) => has(value, bit)).map(([, name]) => name);
}

function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

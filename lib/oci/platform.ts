/**
 * Platforms: for which machine an image is.
 *
 * Source: OCI image spec, image-index.md; the words of containerd's platforms package ("linux/amd64", "linux/arm/v7").
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** An operating system on an architecture, in Go's words. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** "v7", "v8"; only for arm and arm64. */
  readonly variant?: string | undefined;
  readonly "os.version"?: string | undefined;
  readonly "os.features"?: readonly string[] | undefined;
}

/** What of a platform says which programs run there. */
type Machine = Pick<Platform, "os" | "architecture" | "variant">;

/** Other words for the same architecture. */
const ARCHITECTURES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ["amd64"],
  "x86-64": ["amd64"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
  i386: ["386"],
};

/** The variant that is meant where none is said. */
const DEFAULT_VARIANTS: Readonly<Record<string, string>> = { arm: "v7", arm64: "v8" };

/**
 * Reads "linux/amd64", "linux/arm/v7", or an architecture alone.
 *
 * @throws {NydusGdError} "usage"
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw new NydusGdError(
      "usage",
      `Cannot parse platform ${JSON.stringify(text.slice(0, 80))}: it is not OS/ARCH[/VARIANT]`,
      {
        hint: "write it as linux/amd64",
      },
    );
  }
  const [os = "linux", word = "", variant] = parts.length === 1 ? ["linux", ...parts] : parts;
  const [architecture, implied] = Object.hasOwn(ARCHITECTURES, word) ? ARCHITECTURES[word] ?? [word] : [word];
  return { os, architecture, ...(variant ?? implied ? { variant: variant ?? implied } : {}) };
}

/** The platform of this process, as Go would say it. */
export function hostPlatform(os: string = Deno.build.os, arch: string = Deno.build.arch): Platform {
  return parsePlatform(`${os}/${arch}`);
}

/** True when an image for `offered` runs on `wanted`. Versions and features are not looked at. */
export function matchesPlatform(wanted: Machine, offered: Machine): boolean {
  return wanted.os === offered.os && wanted.architecture === offered.architecture &&
    variantOf(wanted) === variantOf(offered);
}

/** "linux/arm/v7". */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return `${os}/${architecture}${variant ? `/${variant}` : ""}`;
}

function variantOf(platform: Machine): string {
  return platform.variant || (DEFAULT_VARIANTS[platform.architecture] ?? "");
}

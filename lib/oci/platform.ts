/**
 * Platforms: the machines for which an image is built.
 *
 * Source: OCI image spec, image-index.md; notation of containerd's platforms package ("linux/amd64", "linux/arm/v7");
 * names of Go 1.24, internal/syslist/syslist.go.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** Operating system and architecture, in Go's naming. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** "v7", "v8"; only for arm and arm64. */
  readonly variant?: string | undefined;
  readonly "os.version"?: string | undefined;
  readonly "os.features"?: readonly string[] | undefined;
}

/** The part of a platform that determines which programs run there. */
type Machine = Pick<Platform, "os" | "architecture" | "variant">;

/** Operating systems by their names in Go. */
const SYSTEMS: ReadonlySet<string> = new Set(
  "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris wasip1 windows zos"
    .split(" "),
);

/** Architectures by their names in Go. */
const KNOWN_ARCHITECTURES: ReadonlySet<string> = new Set(
  ("386 amd64 amd64p32 arm arm64 arm64be armbe loong64 mips mips64 mips64le mips64p32 mips64p32le mipsle ppc ppc64 " +
    "ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm").split(" "),
);

/** Architectures whose variants are called "v7". */
const NUMBERED_VARIANTS: ReadonlySet<string> = new Set(["amd64", "arm", "arm64"]);

/** Aliases of architectures. */
const ARCHITECTURES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ["amd64"],
  "x86-64": ["amd64"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
  i386: ["386"],
};

/** Variants implied when none is given. */
const DEFAULT_VARIANTS: Readonly<Record<string, string>> = { arm: "v7", arm64: "v8" };

/**
 * Parses "linux/amd64", "linux/arm/v7", or an architecture alone, which is one of Linux.
 *
 * @throws {NydusGdError} "usage", also for names that do not exist: an image for them cannot
 */
export function parsePlatform(text: string): Platform {
  const refuse = (state: string, hint = "write it as linux/amd64") =>
    new NydusGdError("usage", `Cannot parse platform ${JSON.stringify(text.slice(0, 80))}: ${state}`, { hint });
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw refuse("it is not OS/ARCH[/VARIANT]");
  }
  const [os = "linux", word = "", variant] = parts.length === 1 ? ["linux", ...parts] : parts;
  const [architecture, implied] = Object.hasOwn(ARCHITECTURES, word) ? ARCHITECTURES[word] ?? [word] : [word];
  if (!SYSTEMS.has(os)) throw refuse(`there is no operating system ${os}`);
  if (!KNOWN_ARCHITECTURES.has(architecture)) {
    throw refuse(`there is no architecture ${architecture}`, `one of ${[...KNOWN_ARCHITECTURES].join(", ")}`);
  }
  if (variant !== undefined && NUMBERED_VARIANTS.has(architecture) && !/^v\d(?:\.\d)?$/.test(variant)) {
    throw refuse(`there is no variant ${variant} of ${architecture}`, "write it as linux/arm/v7");
  }
  return { os, architecture, ...(variant ?? implied ? { variant: variant ?? implied } : {}) };
}

/** Platform of this process, in Go's naming. */
export function hostPlatform(): Platform {
  return parsePlatform(`${Deno.build.os}/${Deno.build.arch}`);
}

/** Whether an image for `offered` runs on `wanted`. Versions and features are not compared. */
export function matchesPlatform(wanted: Machine, offered: Machine): boolean {
  return wanted.os === offered.os && wanted.architecture === offered.architecture &&
    variantOf(wanted) === variantOf(offered);
}

/** Returns "linux/arm/v7". */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return `${os}/${architecture}${variant ? `/${variant}` : ""}`;
}

function variantOf(platform: Machine): string {
  return platform.variant || (DEFAULT_VARIANTS[platform.architecture] ?? "");
}

/**
 * Checks the shared libraries: loads them and reports their versions.
 *
 * @module
 */
import { MissingLibraryError } from "../../ffi/libc.ts";
import { libfuseVersion } from "../../ffi/libfuse3.ts";
import { lz4Version } from "../../ffi/liblz4.ts";
import { zlibVersion } from "../../ffi/libz.ts";
import { zstdVersion } from "../../ffi/libzstd.ts";
import { type Check, failedWith, ok } from "./check.ts";

const GROUP = "libraries";

/** Returns one check for each library that images may need. */
export function libraryChecks(): Check[] {
  return [
    library("libfuse3", libfuseVersion),
    library("libzstd", () => `libzstd.so.1 ${zstdVersion()}`),
    library("liblz4", () => `liblz4.so.1 ${lz4Version()}`),
    library("libz", () => `libz.so.1 ${zlibVersion()}`),
  ];
}

function library(name: string, version: () => string): Check {
  return {
    group: GROUP,
    name,
    run() {
      try {
        return ok(version());
      } catch (error) {
        return failedWith(error, error instanceof MissingLibraryError ? error.hint : undefined);
      }
    },
  };
}

/**
 * The nydus-gd that tests start: this repository's source, or the executable named by `NYDUS_GD_TEST_PROGRAM` where
 * loading some hundred modules takes too long (tests/vm).
 *
 * @module
 */
import { REPOSITORY } from "../repository.ts";

const MAIN = `${REPOSITORY}/main.ts`;

/** The executable; undefined: run from source. */
export const EXECUTABLE: string | undefined = Deno.env.get("NYDUS_GD_TEST_PROGRAM");

/** Program and leading arguments of a command line. */
export const PROGRAM: readonly string[] = EXECUTABLE === undefined
  ? [Deno.execPath(), "run", "-A", "-q", MAIN]
  : [EXECUTABLE];

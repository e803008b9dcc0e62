/**
 * The version of this program, from deno.json: the one place where it is written.
 *
 * @module
 */
import manifest from "../../deno.json" with { type: "json" };

/** Semantic version without a leading "v": "1.2.3". */
export const VERSION: string = manifest.version;

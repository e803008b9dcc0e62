/**
 * The version of this program, read from deno.json.
 *
 * @module
 */
import manifest from "../../deno.json" with { type: "json" };

/** Semantic version without a leading "v": "1.2.3". */
export const VERSION: string = manifest.version;

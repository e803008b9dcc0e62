/**
 * Messages of Docker's graph-driver plugin protocol, as sent by dockerd 20.10 to 27.
 *
 * Bodies are JSON, member names are capitalised, absent and null are equivalent. Unknown members are ignored, since
 * later daemons may send more. Source: moby daemon/graphdriver/proxy.go, 20.10 to 27.5.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../lib/base/errors.ts";

/** Media type of every response except Diff's. */
export const PLUGIN_MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json";

/** Maximum size of a JSON request in bytes; real ones have a few hundred. */
export const MAX_REQUEST_BYTES = 1 << 20;

const text = v.optional(v.nullish(v.string(), ""), "");
const strings = v.optional(v.nullish(v.record(v.string(), v.string()), {}), {});
const list = <S extends v.GenericSchema>(item: S) => v.optional(v.nullish(v.array(item), []), []);

const id = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const IdMapSchema = v.object({ container_id: id, host_id: id, size: id });

/** A range of container ids and the host ids it maps to. */
export type IdMap = v.InferOutput<typeof IdMapSchema>;

/** GraphDriver.Init. */
export const InitSchema = v.object({
  Home: v.string(),
  Opts: list(v.string()),
  UIDMaps: list(IdMapSchema),
  GIDMaps: list(IdMapSchema),
});

/** GraphDriver.Create and CreateReadWrite. */
export const CreateSchema = v.object({ ID: v.string(), Parent: text, MountLabel: text, StorageOpt: strings });

/** GraphDriver.Get. */
export const GetSchema = v.object({ ID: v.string(), MountLabel: text });

/** Put, Remove, Exists, GetMetadata. */
export const IdSchema = v.object({ ID: v.string() });

/** Diff, Changes, DiffSize. */
export const DiffSchema = v.object({ ID: v.string(), Parent: text });

/** Status, Capabilities, Cleanup, Plugin.Activate: the body is ignored. */
export const NothingSchema = v.unknown();

export type InitRequest = v.InferOutput<typeof InitSchema>;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** For a call in flight when this program ended: dockerd repeats it, but its body has been consumed. */
const EMPTY_BODY = "Docker has sent it again without its body, as the driver was away: run the command again";

/**
 * Parses the body of a request.
 *
 * @param method for the message
 * @throws {NydusGdError} "usage" with the path of the first error: `Cannot read GraphDriver.Create request: ID: Invalid
 * type: Expected string but received 7`
 */
export function parseRequest<S extends v.GenericSchema>(method: string, schema: S, body: Uint8Array): v.InferOutput<S> {
  const result = v.safeParse(schema, body.length === 0 ? {} : parseJson(method, body));
  if (result.success) return result.output;
  if (body.length === 0) throw unreadable(method, EMPTY_BODY);
  const [issue] = result.issues;
  const place = v.getDotPath(issue) ?? "body";
  throw unreadable(method, `${place}: ${issue.message}`);
}

function parseJson(method: string, body: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(body));
  } catch (error) {
    throw unreadable(method, error instanceof SyntaxError ? error.message : "body is not UTF-8", error);
  }
}

function unreadable(method: string, state: string, cause?: unknown): NydusGdError {
  return new NydusGdError("usage", `Cannot read ${method} request: ${state}`, { cause });
}

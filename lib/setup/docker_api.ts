/**
 * What Docker tells of itself through its API on a unix socket: versions, storage driver, containers.
 *
 * Source: Docker Engine API 1.41 (`GET /version`, `/info`, `/containers/json`). Unknown members are passed over.
 *
 * @module
 */
import * as v from "valibot";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { formatPath, parseWith } from "../base/schema.ts";
import { getOverUnix, unixErrorCode } from "../base/unix_http.ts";

/** Where dockerd listens unless it is told otherwise. */
const DEFAULT_SOCKET = "/var/run/docker.sock";

const Version = v.object({ Version: v.string() });
const Info = v.object({
  Driver: v.string(),
  DriverStatus: v.nullish(v.array(v.array(v.string())), []),
  DockerRootDir: v.string(),
  ExperimentalBuild: v.optional(v.boolean(), false),
  LiveRestoreEnabled: v.optional(v.boolean(), false),
  SecurityOptions: v.nullish(v.array(v.string()), []),
  Images: v.optional(v.number(), 0),
});
const Containers = v.array(v.object({ Id: v.string(), Names: v.nullish(v.array(v.string()), []), Image: v.string() }));

/** `GET /info`. */
export type DockerInfo = v.InferOutput<typeof Info>;

/** A container that runs. */
export interface RunningContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
}

/** The daemon at one address. */
export class DockerApi {
  readonly host: string;

  /** @param host "unix:///run/docker.sock"; undefined: DOCKER_HOST, else Docker's own default */
  constructor(host: string | undefined) {
    this.host = host || Deno.env.get("DOCKER_HOST") || `unix://${DEFAULT_SOCKET}`;
  }

  /** "20.10.24". @throws {NydusGdError} "unavailable", "unsupported" */
  async version(signal: AbortSignal): Promise<string> {
    return (await this.#get("/version", Version, signal)).Version;
  }

  /** @throws as {@link version} */
  info(signal: AbortSignal): Promise<DockerInfo> {
    return this.#get("/info", Info, signal);
  }

  /** @throws as {@link version} */
  async running(signal: AbortSignal): Promise<RunningContainer[]> {
    const containers = await this.#get("/containers/json", Containers, signal);
    return containers.map(({ Id, Names, Image }) => ({
      id: Id,
      name: Names?.[0]?.replace(/^\//, "") ?? Id.slice(0, 12),
      image: Image,
    }));
  }

  async #get<S extends v.GenericSchema>(path: string, schema: S, signal: AbortSignal): Promise<v.InferOutput<S>> {
    const socket = /^unix:\/\/(\/.*)$/.exec(this.host)?.[1];
    if (socket === undefined) {
      throw new NydusGdError("unsupported", `Cannot ask Docker at ${this.host}: it is no unix socket`, {
        hint: "DOCKER_HOST=unix:///var/run/docker.sock",
      });
    }
    let document: unknown;
    try {
      const { status, text } = await getOverUnix(socket, path, signal);
      if (status !== 200) throw new Error(`it answers ${path} with HTTP ${status}`);
      document = JSON.parse(text);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#unreachable(error);
    }
    const parsed = parseWith(schema, document);
    if (parsed.ok) return parsed.value;
    const state = `its answer to ${path} is not understood: ${formatPath(parsed.path)} ${parsed.state}`;
    throw new NydusGdError("unavailable", `Cannot ask Docker at ${this.host}: ${state}`);
  }

  #unreachable(error: unknown): NydusGdError {
    const states: Record<string, readonly [state: string, hint: string]> = {
      ENOENT: ["there is no such socket", "systemctl start docker"],
      ECONNREFUSED: ["nobody listens", "systemctl start docker"],
      EACCES: ["no permission", "run it as root, or as a member of the group docker"],
    };
    const [state, hint] = states[unixErrorCode(error) ?? ""] ?? [messageOf(error), "journalctl -u docker"];
    return new NydusGdError("unavailable", `Cannot ask Docker at ${this.host}: ${state}`, { hint, cause: error });
  }
}

/**
 * Client of the local Docker daemon, by its Engine API on a Unix socket.
 *
 * ```ts
 * using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
 * const docker = new DockerEngine(dockerHost(), http);
 * const { driver } = await docker.info();
 * await docker.load([archive], ORDINARY_MEMORY);
 * ```
 * Paths carry no API version, so each daemon uses its own. Source: Docker Engine API 1.41 (20.10) to 1.45 (26.1).
 *
 * @throws {NydusGdError} "unavailable" if no daemon answers or it refuses; "unsupported" for a daemon on another
 * machine; "not-found"; "interrupted"
 * @module
 */
import type * as v from "valibot";
import type { FetchOptions } from "../../backend/http/fetch_options.ts";
import type { HttpClient } from "../../backend/http/http_client.ts";
import type { HttpRequest } from "../../backend/http/request_bytes.ts";
import type { HttpResponse } from "../../backend/http/http_response.ts";
import { TransferError } from "../../backend/http/transfer_error.ts";
import type { Credential } from "../../backend/registry/credential.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { lengthOf } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { parseJsonText } from "../../base/json_text.ts";
import { formatPath, parseWith } from "../../base/schema.ts";
import { unixErrorCode } from "../../base/unix_http.ts";
import { type ImageMemory, partsOf } from "../../rafs/memory/image_memory.ts";
import {
  ContainersResponse,
  type DockerImage,
  type DockerInfo,
  ErrorResponse,
  ImageResponse,
  InfoResponse,
  type RunningContainer,
} from "./engine_responses.ts";
import { findDockerd, withoutVar } from "./find_dockerd.ts";
import { type PullStep, readProgress } from "./progress_stream.ts";

/** Default address of dockerd. */
const DEFAULT_HOST = "unix:///var/run/docker.sock";

/** The socket of Docker's systemd unit. */
const UNIT_SOCKET = "/run/docker.sock";

const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

/** dockerd sends nothing while it packs or unpacks an image. */
const PATIENT = { readTimeoutMs: 0 } as const;

/** Returns dockerd's address: the first non-empty argument, else DOCKER_HOST, else Docker's default. */
export function dockerHost(...given: readonly (string | undefined)[]): string {
  return given.find((host) => host) ?? (Deno.env.get("DOCKER_HOST") || DEFAULT_HOST);
}

/** An image to pull. */
export interface DockerPull {
  /** "registry.example:5000/team/app". */
  readonly repository: string;
  /** A tag or a digest. */
  readonly name: string;
  /** "linux/arm64"; undefined: dockerd's own platform. */
  readonly platform: string | undefined;
  readonly credential: Credential | undefined;
  /** Called for each progress message. */
  readonly onStep: (step: PullStep) => void;
}

/** A request to the Engine API. */
interface DockerRequest extends Omit<HttpRequest, "url"> {
  readonly path: string;
  /** For messages: "load image". */
  readonly what: string;
  readonly signal: AbortSignal | undefined;
  /** Default: a response to anything but GET may take any time. */
  readonly timeouts?: Partial<FetchOptions>;
}

/** A Docker daemon. */
export class DockerEngine {
  /** @param host in the form of DOCKER_HOST: "unix:///run/docker.sock" */
  constructor(readonly host: string, private readonly http: HttpClient) {}

  /** Returns the daemon's system information. */
  info(signal: AbortSignal | undefined): Promise<DockerInfo> {
    return this.#json(InfoResponse, "/info", "ask Docker", signal);
  }

  /** Returns the running containers. */
  running(signal: AbortSignal): Promise<RunningContainer[]> {
    return this.#json(ContainersResponse, "/containers/json", "ask Docker for its containers", signal);
  }

  /** Returns an image by name or ID; undefined if there is none. */
  async image(name: string, signal: AbortSignal): Promise<DockerImage | undefined> {
    try {
      return await this.#json(ImageResponse, `/images/${name}/json`, `look for image ${name}`, signal);
    } catch (error) {
      if (error instanceof NydusGdError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  /**
   * Loads an archive in the format of `docker save`.
   *
   * Docker loads an archive that it has received even if nobody waits for its answer. So an abort ends only the
   * transfer: once that is complete, the image will be there, and its arrival is awaited.
   *
   * @param archive in pieces
   * @param memory that holds the pieces
   */
  async load(archive: readonly Uint8Array[], memory: ImageMemory, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const headers = { "content-type": "application/x-tar" };
    const transfer = new AbortController();
    const stop = () => transfer.abort(signal.reason);
    signal.addEventListener("abort", stop);
    const open = async function* () {
      for (const piece of archive) yield* partsOf(piece, memory);
      signal.removeEventListener("abort", stop);
    };
    const body = { length: lengthOf(archive), open };
    const what = "load image";
    try {
      await this.#ask(
        { method: "POST", path: "/images/load?quiet=1", headers, body, what, signal: transfer.signal },
        (response) => readProgress(response, what, () => {}),
      );
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Saves an image in the format of `docker save`, and passes it to `take` in pieces. */
  async save(name: string, take: (piece: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    await this.#ask(
      { method: "GET", path: `/images/${name}/get`, what: `save image ${name}`, signal, timeouts: PATIENT },
      (response) => response.each(take),
    );
  }

  /** Pulls an image, like `docker pull`. */
  async pull({ repository, name, platform, credential, onStep }: DockerPull, signal: AbortSignal): Promise<void> {
    const query = new URLSearchParams({ fromImage: repository, tag: name, ...(platform ? { platform } : {}) });
    const headers = credential === undefined ? {} : { "x-registry-auth": registryAuth(credential, repository) };
    const what = `pull ${repository}${name.includes(":") ? "@" : ":"}${name}`;
    await this.#ask(
      { method: "POST", path: `/images/create?${query}`, headers, what, signal },
      (response) => readProgress(response, what, onStep),
    );
  }

  /** Adds a tag to an image. */
  async tag(source: string, repository: string, tag: string, signal: AbortSignal): Promise<void> {
    const query = new URLSearchParams({ repo: repository, tag });
    const what = `tag ${source} as ${repository}:${tag}`;
    await this.#ask(
      { method: "POST", path: `/images/${source}/tag?${query}`, what, signal },
      (response) => response.discard(),
    );
  }

  async #json<S extends v.GenericSchema>(
    schema: S,
    path: string,
    what: string,
    signal: AbortSignal | undefined,
  ): Promise<v.InferOutput<S>> {
    const text = await this.#ask(
      { method: "GET", path, what, signal },
      (response) => response.text(MAX_RESPONSE_BYTES),
    );
    const parsed = parseWith(schema, parseJsonText(text));
    if (parsed.ok) return parsed.value;
    const state = `its response is not understood: ${formatPath(parsed.path)} ${parsed.state}`;
    throw new NydusGdError("unavailable", `Cannot ${what}: ${state}`);
  }

  async #ask<T>(
    { path, what, signal, timeouts, ...request }: DockerRequest,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const socketPath = this.#socketPath();
    try {
      return await this.http.exchange(
        { ...request, url: new URL(`http://docker${path}`) },
        {
          priority: "on-demand",
          socketPath,
          timeouts: timeouts ?? (request.method === "GET" ? {} : PATIENT),
          ...(signal === undefined ? {} : { signal }),
        },
        async (response) => {
          if (response.status >= 400) throw await refusal(response, what);
          return await consume(response);
        },
      );
    } catch (error) {
      throw error instanceof TransferError ? unreachable(error, what, socketPath) : error;
    }
  }

  #socketPath(): string {
    const path = /^unix:\/\/(\/.+)$/.exec(this.host)?.[1];
    if (path !== undefined) return path;
    const state = "it is not a unix:// socket";
    throw new NydusGdError("unsupported", `Cannot use Docker at ${JSON.stringify(this.host)}: ${state}`, {
      hint: `run nydus-gd on the daemon's machine, or set its socket: DOCKER_HOST=${DEFAULT_HOST}`,
    });
  }
}

function unreachable(error: TransferError, what: string, socketPath: string): NydusGdError {
  const refuse = (state: string, hint: string) =>
    new NydusGdError("unavailable", `Cannot ${what}: ${state}`, { hint, cause: error });
  switch (unixErrorCode(error.cause)) {
    case "ENOENT":
    case "ENOTDIR":
      return refuse(...whyAbsent(`there is no socket ${socketPath}`, socketPath));
    case "ECONNREFUSED":
      return refuse(...whyAbsent(`nothing is listening at ${socketPath}`, socketPath));
    case "EACCES":
    case "EPERM":
      return refuse(`access to ${socketPath} is denied`, "run it as root, or as a member of the group docker");
    default:
      return refuse(error.state, "docker info");
  }
}

/** Returns why nobody answers at a socket, beginning with `state`, and what to do about it. */
function whyAbsent(state: string, socketPath: string): [state: string, hint: string] {
  const isOfTheUnit = withoutVar(socketPath) === UNIT_SOCKET;
  const found = findDockerd();
  if (found === undefined) {
    const start = "start the dockerd that serves it, or correct DOCKER_HOST or docker.host in the settings";
    return [`Docker is not running, ${state}`, isOfTheUnit ? "systemctl start docker" : start];
  }
  const { pid, sockets: [socket, ...others] } = found;
  const dockerd = `dockerd (process ${pid})`;
  if (socket === undefined) {
    return [`${state}, ${dockerd} listens on no Unix socket`, `start dockerd with --host unix://${socketPath}`];
  }
  if ([socket, ...others].includes(withoutVar(socketPath))) {
    const restart = isOfTheUnit ? "systemctl restart docker.socket docker" : "restart dockerd";
    return [`the socket ${socketPath} of ${dockerd} was removed`, restart];
  }
  return [`${state}, ${dockerd} listens on ${socket}`, `DOCKER_HOST=unix://${socket}, or docker.host in the settings`];
}

/** Returns the value of X-Registry-Auth. */
function registryAuth(credential: Credential, repository: string): string {
  const serveraddress = repository.slice(0, repository.indexOf("/"));
  const fields = credential.kind === "basic"
    ? { username: credential.user, password: credential.password }
    : credential.kind === "identity-token"
    ? { identitytoken: credential.token }
    : { registrytoken: credential.token };
  return new TextEncoder().encode(JSON.stringify({ ...fields, serveraddress })).toBase64({ alphabet: "base64url" });
}

/** Uses dockerd's message, which is meant for users and contains no secrets. */
async function refusal(response: HttpResponse, what: string): Promise<NydusGdError> {
  const parsed = parseWith(ErrorResponse, parseJsonText(await response.text(MAX_RESPONSE_BYTES)));
  const state = parsed.ok ? parsed.value.message : `HTTP ${response.status}`;
  return new NydusGdError(response.status === 404 ? "not-found" : "unavailable", `Cannot ${what}: ${state}`);
}

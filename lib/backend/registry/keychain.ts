/**
 * Credentials of registries.
 *
 * ```ts
 * const keychain = firstOf(staticKeychain({ user, password }), new DockerKeychain({ configDir: "/root/.docker" }));
 * const credential = await keychain.resolve("registry.example.com:5000");
 * ```
 * Nothing is cached: a `docker login` takes effect on the next challenge. Errors never contain a credential.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { formatPath, parseWith } from "../../base/schema.ts";
import { decodeAuth } from "../backend_config.ts";
import type { Credential } from "./credential.ts";
import { runCredentialHelper } from "./credential_helper.ts";
import { isDockerHub } from "./endpoint.ts";

/** A source of credentials. */
export interface Keychain {
  /**
   * Returns the credential for a registry; undefined: send requests anonymously.
   *
   * @param host "registry.example.com:5000"; any name of Docker Hub
   * @throws {NydusGdError} "config" if credentials are configured but cannot be read
   */
  resolve(host: string, signal?: AbortSignal): Promise<Credential | undefined>;
}

/** Has no credentials. */
export const ANONYMOUS: Keychain = { resolve: () => Promise.resolve(undefined) };

/** Returns the same credential for every host; for a backend that is configured with it. */
export function staticKeychain(credential: Credential): Keychain {
  return { resolve: () => Promise.resolve(credential) };
}

/** Consults keychains in order; the first credential counts. */
export function firstOf(...keychains: readonly Keychain[]): Keychain {
  return {
    async resolve(host, signal) {
      for (const keychain of keychains) {
        const credential = await keychain.resolve(host, signal);
        if (credential !== undefined) return credential;
      }
      return undefined;
    },
  };
}

const authEntry = v.object({
  auth: v.optional(v.string()),
  username: v.optional(v.string()),
  password: v.optional(v.string()),
  identitytoken: v.optional(v.string()),
  registrytoken: v.optional(v.string()),
});
const CONFIG = v.object({
  auths: v.optional(v.nullable(v.record(v.string(), authEntry))),
  credsStore: v.optional(v.string()),
  credHelpers: v.optional(v.nullable(v.record(v.string(), v.string()))),
});
type Config = v.InferOutput<typeof CONFIG>;
type AuthEntry = v.InferOutput<typeof authEntry>;

/** Options of {@link DockerKeychain}. */
export interface DockerKeychainOptions {
  /** The folder that holds config.json. */
  readonly configDir: string;
  /** Timeout of a credential helper. Default: 10 s. */
  readonly helperTimeoutMs?: number;
}

/**
 * Returns the folder of Docker's client configuration: the setting `docker.config`, DOCKER_CONFIG, or `.docker` in the
 * home folder of this user.
 */
export function dockerConfigDir(
  configured: string | undefined,
  environment = Deno.env.get("DOCKER_CONFIG"),
  home = homeFolder(),
): string {
  return configured || environment || join(home, ".docker");
}

/** The home folder of this user. That of root does not depend on HOME, which sudo may keep and a service may lack. */
function homeFolder(): string {
  return Deno.uid() === 0 ? "/root" : Deno.env.get("HOME") || "/";
}

/** The credentials stored by `docker login`: config.json and the credential helpers that it names. */
export class DockerKeychain implements Keychain {
  readonly #path: string;
  readonly #helperTimeoutMs: number;

  constructor(options: DockerKeychainOptions) {
    this.#path = join(options.configDir, "config.json");
    this.#helperTimeoutMs = options.helperTimeoutMs ?? 10_000;
  }

  async resolve(host: string, signal?: AbortSignal): Promise<Credential | undefined> {
    const config = await this.#read();
    if (config === undefined) return undefined;
    const keys = keysFor(host);
    const helpers = new Map(Object.entries(config.credHelpers ?? {}));
    const helper = keys.map((key) => helpers.get(key)).find(Boolean) ?? config.credsStore;
    if (helper) {
      const found = await runCredentialHelper(helper, keys[0] ?? host, this.#helperTimeoutMs, signal);
      if (found !== undefined) return found;
    }
    const entry = findEntry(config, keys);
    return entry === undefined ? undefined : this.#credentialOf(entry, host);
  }

  /**
   * Returns the registries with a login, sorted, with "docker.io" for Docker Hub. Logins that are known only to a
   * `credsStore` are not included.
   *
   * @throws {NydusGdError} "config"
   */
  async hosts(): Promise<string[]> {
    const config = await this.#read();
    const names = [...Object.keys(config?.auths ?? {}), ...Object.keys(config?.credHelpers ?? {})].map(hostPart);
    return [...new Set(names.map((host) => isDockerHub(host) ? "docker.io" : host))].sort();
  }

  async #read(): Promise<Config | undefined> {
    let document: unknown;
    try {
      const text = await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.readTextFile(this.#path));
      if (text === undefined) return undefined;
      document = JSON.parse(text);
    } catch (error) {
      // JSON errors quote the text, which contains secrets.
      const state = error instanceof SyntaxError ? "it is not valid JSON" : messageOf(error);
      const isAnothers = error instanceof Deno.errors.PermissionDenied;
      throw this.#unreadable(
        state,
        isAnothers ? "NYDUS_GD_DOCKER_CONFIG=FOLDER names one that this user can read" : undefined,
      );
    }
    const result = parseWith(CONFIG, document);
    if (!result.ok) throw this.#unreadable(`${formatPath(result.path)} ${result.state}`);
    return result.value;
  }

  #credentialOf(entry: AuthEntry, host: string): Credential | undefined {
    const source = { name: this.#path };
    if (entry.registrytoken) return { kind: "registry-token", token: entry.registrytoken, source };
    if (entry.identitytoken) return { kind: "identity-token", token: entry.identitytoken, source };
    if (entry.auth) {
      const decoded = decodeAuth(entry.auth);
      if (decoded === undefined) throw this.#unreadable(`the auth of ${host} is not base64 of user:password`);
      // Old versions of `docker login` pad the password with NUL.
      return { kind: "basic", user: decoded.user, password: decoded.password.replace(/\0+$/, ""), source };
    }
    return entry.username && entry.password !== undefined
      ? { kind: "basic", user: entry.username, password: entry.password, source }
      : undefined;
  }

  #unreadable(state: string, hint = "run docker login, or correct the file"): NydusGdError {
    return new NydusGdError("config", `Cannot read Docker credentials ${this.#path}: ${state}`, { hint });
  }
}

/** Returns the keys under which `docker login` may store a host, most common first. */
function keysFor(host: string): string[] {
  if (!isDockerHub(host)) return [host, `https://${host}`, `http://${host}`];
  return ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];
}

/** Finds an entry by exact key, or by the host part of a key, since old clients stored whole URLs. */
function findEntry(config: Config, keys: readonly string[]): AuthEntry | undefined {
  const entries = new Map(Object.entries(config.auths ?? {}));
  for (const key of keys) {
    const entry = entries.get(key);
    if (entry !== undefined && Object.keys(entry).length > 0) return entry;
  }
  const hosts = new Set(keys.map(hostPart));
  for (const [key, entry] of entries) {
    if (hosts.has(hostPart(key)) && Object.keys(entry).length > 0) return entry;
  }
  return undefined;
}

function hostPart(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

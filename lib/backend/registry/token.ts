/**
 * Bearer tokens: got from the token server that a challenge names, kept until shortly before they expire.
 *
 * ```
 * anonymous, user and password   GET  realm?service=…&scope=…[&account=user]   (Authorization: Basic)
 * identity token                 POST realm  grant_type=refresh_token&…
 * ```
 * Concurrent callers share one request. In the last seconds of a token's life a new one is fetched while the old one
 * is still used. Source: the distribution project's token and oauth2 specifications.
 *
 * @module
 */
import * as v from "valibot";
import { unlessAborted } from "../../base/abort.ts";
import { logger } from "../../base/log.ts";
import { parseWith } from "../../base/schema.ts";
import { SingleFlight } from "../../base/single_flight.ts";
import type { ReadOptions } from "../blob_source.ts";
import type { ExchangeSetup } from "../http_setup.ts";
import type { Challenge } from "./challenge.ts";
import type { HttpClient, HttpRequest } from "../http/http_client.ts";
import type { HttpResponse } from "../http/http_response.ts";
import { isLoopback } from "../http/loopback.ts";
import type { Credential } from "./keychain.ts";
import { brokenAnswer, TransferError } from "../http/transfer_error.ts";
import { statusError } from "../http/status.ts";

/** A token lives this long where its server does not say. */
const DEFAULT_LIFETIME_S = 60;
/** In use no longer than this before its end: clocks differ and requests take time. */
const MARGIN_MS = 5_000;
/** Fetched anew this long before its end, at most a quarter of its life. */
const REFRESH_MS = 25_000;
const MAX_ANSWER_BYTES = 1 << 20;

const ANSWER = v.object({
  token: v.optional(v.string()),
  access_token: v.optional(v.string()),
  expires_in: v.optional(v.number()),
});

interface Token {
  readonly value: string;
  readonly refreshAtMs: number;
  readonly expiresAtMs: number;
}

/** Who asks a token server, and for what. */
export interface TokenSourceOptions {
  readonly http: HttpClient;
  /** The registry's name, for messages. */
  readonly registry: string;
  /** The registry is reached over TLS: then so must be whoever gets its password. */
  readonly secure: boolean;
  /** For a challenge without a scope: "repository:library/nginx:pull". */
  readonly defaultScope: string;
  readonly exchange: ExchangeSetup;
  /** Milliseconds that only go forward; tests have their own. */
  readonly now?: () => number;
}

/** The tokens of one realm, service and scope. */
export class TokenSource {
  readonly #realm: URL;
  readonly #service: string | undefined;
  readonly #scope: string;
  readonly #flights = new SingleFlight<"token", Token>();
  readonly #now: () => number;
  #token: Token | undefined;
  #hasServed = false;

  /** @throws {TransferError} "unavailable" for a challenge without a usable realm */
  constructor(
    challenge: Challenge,
    private readonly credential: Credential | undefined,
    private readonly options: TokenSourceOptions,
  ) {
    const realm = challenge.parameters.get("realm") ?? "";
    if (!URL.canParse(realm) || !/^https?:$/.test(new URL(realm).protocol)) {
      throw brokenAnswer(`the registry names no token server`);
    }
    this.#realm = new URL(realm);
    this.#service = challenge.parameters.get("service");
    this.#scope = challenge.parameters.get("scope") || options.defaultScope;
    this.#now = options.now ?? (() => performance.now());
    if (
      credential !== undefined && options.secure && this.#realm.protocol === "http:" && !isLoopback(this.#realm.host)
    ) {
      throw new TransferError("unauthorized", `${this.#realm.host} wants the password in plain HTTP`, {
        prospect: "permanent",
      });
    }
  }

  /** True when the token server has accepted the credential before. */
  get hasServed(): boolean {
    return this.#hasServed;
  }

  /** A token that is good for now. */
  async get(options: ReadOptions): Promise<string> {
    const token = this.#token;
    const now = this.#now();
    if (token === undefined || now >= token.expiresAtMs - MARGIN_MS) {
      return (await unlessAborted(this.#fetchShared(options), options.signal)).value;
    }
    if (now >= token.refreshAtMs) {
      this.#fetchShared({ priority: options.priority }).catch((error: unknown) => {
        logger("backend").warn("token refresh failed, the old one is used until it expires", {
          registry: this.options.registry,
          error,
        });
      });
    }
    return token.value;
  }

  /** Forgets `value`, which the registry refused. A newer token stays. */
  invalidate(value: string): void {
    if (this.#token?.value === value) this.#token = undefined;
  }

  /** One caller's abort must not fail the others, so the shared request has timeouts but no signal. */
  #fetchShared(options: ReadOptions): Promise<Token> {
    return this.#flights.run("token", async () => {
      this.#token = await this.#fetch(options.priority);
      this.#hasServed = true;
      return this.#token;
    });
  }

  async #fetch(priority: ReadOptions["priority"]): Promise<Token> {
    const startedMs = this.#now();
    const answer = await this.options.http.exchange(
      this.#request(),
      { priority, ...this.options.exchange },
      (response) => this.#read(response),
    );
    const value = answer.token || answer.access_token;
    if (!value || !/^[\x21-\x7e]+$/.test(value)) throw brokenAnswer(`${this.#realm.host} gave no token`);
    const lifetimeMs = Math.max(0, answer.expires_in ?? DEFAULT_LIFETIME_S) * 1000;
    const expiresAtMs = startedMs + lifetimeMs;
    return { value, expiresAtMs, refreshAtMs: expiresAtMs - Math.min(REFRESH_MS, lifetimeMs / 4) };
  }

  async #read(response: HttpResponse): Promise<v.InferOutput<typeof ANSWER>> {
    if (response.status !== 200) throw await statusError(response, this.options.registry);
    let document: unknown;
    try {
      document = JSON.parse(await response.text(MAX_ANSWER_BYTES));
    } catch (error) {
      if (error instanceof SyntaxError) throw brokenAnswer(`${this.#realm.host} gave no JSON`);
      throw error;
    }
    const result = parseWith(ANSWER, document);
    if (!result.ok) throw brokenAnswer(`${this.#realm.host} gave no token`);
    return result.value;
  }

  #request(): HttpRequest {
    const { credential } = this;
    const accept = { accept: "application/json" };
    if (credential?.kind === "identity-token") {
      const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "nydus-gd", scope: this.#scope });
      if (this.#service !== undefined) form.set("service", this.#service);
      form.set("refresh_token", credential.token);
      return {
        method: "POST",
        url: this.#realm,
        headers: { ...accept, "content-type": "application/x-www-form-urlencoded" },
        body: form.toString(),
      };
    }
    const url = new URL(this.#realm);
    if (this.#service !== undefined) url.searchParams.set("service", this.#service);
    url.searchParams.set("scope", this.#scope);
    url.searchParams.set("client_id", "nydus-gd");
    if (credential?.kind !== "basic") return { method: "GET", url, headers: accept };
    url.searchParams.set("account", credential.user);
    return { method: "GET", url, headers: { ...accept, authorization: basicAuthorization(credential) } };
  }
}

/** `Basic <base64 of user:password>`. */
export function basicAuthorization(credential: Extract<Credential, { kind: "basic" }>): string {
  return `Basic ${new TextEncoder().encode(`${credential.user}:${credential.password}`).toBase64()}`;
}

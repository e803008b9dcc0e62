/**
 * Bearer tokens: got from the token server that a challenge names, kept until shortly before they expire.
 *
 * Concurrent callers share one request. In the last seconds of a token's life a new one is fetched while the old one
 * is still used. User and password go by GET, and by POST for good where the server has no GET; an identity token by
 * POST, which may answer with the identity token of the next time. What is sent: token_protocol.ts.
 *
 * @module
 */
import { unlessAborted } from "../../base/abort.ts";
import { logger } from "../../base/log.ts";
import { SingleFlight } from "../../base/single_flight.ts";
import type { ReadOptions } from "../blob_source.ts";
import type { ExchangeSetup } from "../http_setup.ts";
import type { Challenge } from "./challenge.ts";
import type { HttpClient, HttpRequest } from "../http/http_client.ts";
import { isLoopback } from "../http/loopback.ts";
import type { Credential } from "./keychain.ts";
import { brokenAnswer, TransferError } from "../http/transfer_error.ts";
import {
  getToken,
  parseTokenAnswer,
  passwordGrant,
  postToken,
  refreshGrant,
  type TokenAnswer,
  tokenError,
  type TokenGrant,
} from "./token_protocol.ts";

/** In use no longer than this before its end: clocks differ and requests take time. */
const MARGIN_MS = 5_000;
/** Fetched anew this long before its end, at most a quarter of its life. */
const REFRESH_MS = 25_000;
const MAX_ANSWER_BYTES = 1 << 20;

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
  readonly #grant: TokenGrant;
  readonly #flights = new SingleFlight<"token", Token>();
  readonly #now: () => number;
  #token: Token | undefined;
  #hasServed = false;
  /** The server has no GET. */
  #wantsPost = false;
  /** Got in place of the configured one. */
  #identityToken: string | undefined;

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
    const { protocol, host } = new URL(realm);
    this.#grant = {
      realm: new URL(realm),
      service: challenge.parameters.get("service"),
      scope: challenge.parameters.get("scope") || options.defaultScope,
    };
    this.#now = options.now ?? (() => performance.now());
    if (credential !== undefined && options.secure && protocol === "http:" && !isLoopback(host)) {
      throw new TransferError("unauthorized", `${host} wants the password in plain HTTP`, { prospect: "permanent" });
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
    const { value, lifetimeMs } = await this.#ask(priority);
    const expiresAtMs = startedMs + lifetimeMs;
    return { value, expiresAtMs, refreshAtMs: expiresAtMs - Math.min(REFRESH_MS, lifetimeMs / 4) };
  }

  async #ask(priority: ReadOptions["priority"]): Promise<TokenAnswer> {
    const { credential } = this;
    if (credential?.kind === "identity-token") return await this.#refresh(credential.token, priority);
    const get = getToken(this.#grant, credential);
    if (credential?.kind !== "basic") return await this.#send(get, priority);
    const post = postToken(this.#grant, passwordGrant(credential));
    if (this.#wantsPost) return await this.#send(post, priority);
    try {
      return await this.#send(get, priority);
    } catch (error) {
      if (!(error instanceof TransferError) || (error.status !== 404 && error.status !== 405)) throw error;
      const answer = await this.#send(post, priority);
      this.#wantsPost = true;
      return answer;
    }
  }

  async #refresh(configured: string, priority: ReadOptions["priority"]): Promise<TokenAnswer> {
    const answer = await this.#send(postToken(this.#grant, refreshGrant(this.#identityToken ?? configured)), priority);
    this.#identityToken = answer.identityToken ?? this.#identityToken;
    return answer;
  }

  #send(request: HttpRequest, priority: ReadOptions["priority"]): Promise<TokenAnswer> {
    return this.options.http.exchange(request, { priority, ...this.options.exchange }, async (response) => {
      if (response.status !== 200) throw await tokenError(response);
      return parseTokenAnswer(await response.text(MAX_ANSWER_BYTES), this.#grant.realm.host);
    });
  }
}

/**
 * Bearer tokens, fetched from the token server of a challenge and cached until shortly before they expire.
 *
 * Concurrent callers share one request. Near the end of a token's lifetime a new one is fetched in the background while
 * the old one is still in use. User and password are sent by GET, or by POST from then on if the server does not
 * support GET. An identity token is sent by POST; the response may contain its replacement. Requests:
 * token_protocol.ts.
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
import type { Credential } from "./credential.ts";
import { invalidResponse, TransferError } from "../http/transfer_error.ts";
import {
  getToken,
  parseTokenResponse,
  passwordGrant,
  postToken,
  refreshGrant,
  tokenError,
  type TokenGrant,
  type TokenResponse,
} from "./token_protocol.ts";

/** A token is not used within this time before its expiry: clocks differ and requests take time. */
const MARGIN_MS = 5_000;
/** A token is refreshed this long before its expiry, at most a quarter of its lifetime. */
const REFRESH_MS = 25_000;
const MAX_RESPONSE_BYTES = 1 << 20;

interface Token {
  readonly value: string;
  readonly refreshAtMs: number;
  readonly expiresAtMs: number;
}

/** Options of {@link TokenSource}. */
export interface TokenSourceOptions {
  readonly http: HttpClient;
  /** The registry's name, for messages. */
  readonly registry: string;
  /** Whether the registry is reached over TLS. A token server must then use TLS as well to receive its password. */
  readonly secure: boolean;
  /** Scope for a challenge without one: "repository:library/nginx:pull". */
  readonly defaultScope: string;
  readonly exchange: ExchangeSetup;
  /** Monotonic clock in milliseconds; replaced in tests. */
  readonly now?: () => number;
}

/** The tokens of one realm, service and scope. */
export class TokenSource {
  readonly #grant: TokenGrant;
  readonly #flights = new SingleFlight<"token", Token>();
  readonly #now: () => number;
  #token: Token | undefined;
  #hasServed = false;
  /** Whether the server supports only POST. */
  #wantsPost = false;
  /** The replacement of the configured identity token. */
  #identityToken: string | undefined;

  /**
   * @throws {TransferError} "unavailable" for a challenge without a valid realm, "unauthorized" for one in plain HTTP
   */
  constructor(
    challenge: Challenge,
    private readonly credential: Credential | undefined,
    private readonly options: TokenSourceOptions,
  ) {
    const realm = challenge.parameters.get("realm") ?? "";
    if (!URL.canParse(realm) || !/^https?:$/.test(new URL(realm).protocol)) {
      throw invalidResponse(`the registry names no token server`);
    }
    const { protocol, host } = new URL(realm);
    this.#grant = {
      realm: new URL(realm),
      service: challenge.parameters.get("service"),
      scope: challenge.parameters.get("scope") || options.defaultScope,
    };
    this.#now = options.now ?? (() => performance.now());
    if (credential !== undefined && options.secure && protocol === "http:" && !isLoopback(host)) {
      throw new TransferError("unauthorized", `${host} asks for the password over plain HTTP`, {
        prospect: "permanent",
      });
    }
  }

  /** Whether the token server has accepted the credential before. */
  get hasServed(): boolean {
    return this.#hasServed;
  }

  /** Returns a valid token. */
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

  /** The shared request has timeouts but no signal: one caller's abort must not fail the others. */
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

  async #ask(priority: ReadOptions["priority"]): Promise<TokenResponse> {
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

  async #refresh(configured: string, priority: ReadOptions["priority"]): Promise<TokenResponse> {
    const answer = await this.#send(postToken(this.#grant, refreshGrant(this.#identityToken ?? configured)), priority);
    this.#identityToken = answer.identityToken ?? this.#identityToken;
    return answer;
  }

  #send(request: HttpRequest, priority: ReadOptions["priority"]): Promise<TokenResponse> {
    return this.options.http.exchange(request, { priority, ...this.options.exchange }, async (response) => {
      if (response.status !== 200) throw await tokenError(response);
      return parseTokenResponse(await response.text(MAX_RESPONSE_BYTES), this.#grant.realm.host);
    });
  }
}

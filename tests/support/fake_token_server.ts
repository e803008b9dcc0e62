/**
 * The token server of a {@link FakeRegistry}: by GET as the token specification has it, by POST as OAuth 2.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { SeenRequest } from "./fake_registry.ts";
import { end } from "./faults.ts";

/** Who gets tokens, and how. */
export interface FakeTokenOptions {
  readonly user?: string;
  readonly password?: string;
  /** Accepted as a refresh token. */
  readonly identityToken?: string;
  /** An identity token is good for one time, and the answer holds the next. */
  readonly rotates?: boolean;
  /** What tokens say of their life; absent: nothing. */
  readonly expiresInSeconds?: number;
  /** What GET is answered with: the server knows OAuth 2 only. */
  readonly getStatus?: 404 | 405;
}

/** Gives tokens and knows which are good. */
export class FakeTokenServer {
  password: string | undefined;
  identityToken: string | undefined;
  readonly #tokens = new Set<string>();

  constructor(private readonly options: FakeTokenOptions) {
    this.password = options.password;
    this.identityToken = options.identityToken;
  }

  /** Whether this Authorization is one of the server's. */
  accepts(authorization: string): boolean {
    return this.#tokens.has(authorization.replace(/^Bearer /, ""));
  }

  /** Every token given so far is refused from now on. */
  expire(): void {
    this.#tokens.clear();
  }

  get basic(): string {
    return `Basic ${btoa(`${this.options.user}:${this.password}`)}`;
  }

  answer(seen: SeenRequest, response: ServerResponse): void {
    const { getStatus, user } = this.options;
    if (seen.method === "POST") return this.#oauth(new URLSearchParams(seen.body), response);
    if (getStatus !== undefined) return end(response, getStatus, {}, "no such page");
    const isAllowed = user === undefined || seen.headers.authorization === this.basic;
    if (!isAllowed) return end(response, 401, {}, "{}");
    end(response, 200, {}, JSON.stringify({ token: this.#give(), ...this.#life() }));
  }

  #oauth(form: URLSearchParams, response: ServerResponse): void {
    const refuse = (error: string) => end(response, 400, {}, JSON.stringify({ error }));
    if (!form.get("client_id") || !form.get("service")) return refuse("invalid_request");
    const grant = form.get("grant_type");
    if (grant !== "password" && grant !== "refresh_token") return refuse("unsupported_grant_type");
    const isAllowed = grant === "password"
      ? form.get("username") === this.options.user && form.get("password") === this.password
      : this.identityToken !== undefined && form.get("refresh_token") === this.identityToken;
    if (!isAllowed) return refuse("invalid_grant");
    if (grant === "refresh_token" && this.options.rotates) this.identityToken = randomUUID();
    const next = grant === "refresh_token" ? { refresh_token: this.identityToken } : {};
    end(response, 200, {}, JSON.stringify({ access_token: this.#give(), ...this.#life(), ...next }));
  }

  #give(): string {
    const token = randomUUID();
    this.#tokens.add(token);
    return token;
  }

  #life(): { expires_in?: number } {
    const { expiresInSeconds } = this.options;
    return expiresInSeconds === undefined ? {} : { expires_in: expiresInSeconds };
  }
}

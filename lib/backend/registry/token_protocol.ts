/**
 * Requests to token servers, their responses and errors.
 *
 * ```
 * anonymous, user and password       GET  realm?service=…&scope=…[&account=user]   (Authorization: Basic)
 * the same, where GET is not served  POST realm  grant_type=password&username=…&password=…&service=…&scope=…
 * identity token                     POST realm  grant_type=refresh_token&refresh_token=…&service=…&scope=…
 * ```
 * Source: the distribution project's token and oauth2 specifications; RFC 6749 sections 4.3, 5.2 and 6.
 *
 * @module
 */
import * as v from "valibot";
import { parseWith } from "../../base/schema.ts";
import type { HttpRequest } from "../http/http_client.ts";
import type { HttpResponse } from "../http/http_response.ts";
import { errorBody, errorOfStatus } from "../http/status.ts";
import { invalidResponse, TransferError } from "../http/transfer_error.ts";
import type { Credential } from "./credential.ts";

const CLIENT_ID = "nydus-gd";
const ACCEPT = { accept: "application/json" };

/** A token server, and the access to request. */
export interface TokenGrant {
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scope: string;
}

/** Returns the GET request, which most token servers support. Uses only credentials with user and password. */
export function getToken({ realm, service, scope }: TokenGrant, credential: Credential | undefined): HttpRequest {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  url.searchParams.set("scope", scope);
  url.searchParams.set("client_id", CLIENT_ID);
  if (credential?.kind !== "basic") return { method: "GET", url, headers: ACCEPT };
  url.searchParams.set("account", credential.user);
  return { method: "GET", url, headers: { ...ACCEPT, authorization: basicAuthorization(credential) } };
}

/** Returns the OAuth 2 request; `grant` holds `grant_type` and its parameters. */
export function postToken(
  { realm, service, scope }: TokenGrant,
  grant: Readonly<Record<string, string>>,
): HttpRequest {
  const form = new URLSearchParams({ ...grant, client_id: CLIENT_ID, scope });
  if (service !== undefined) form.set("service", service);
  return {
    method: "POST",
    url: realm,
    headers: { ...ACCEPT, "content-type": "application/x-www-form-urlencoded" },
    body: form.toString(),
  };
}

/** Returns the parameters of a password grant. */
export function passwordGrant({ user, password }: BasicCredential): Record<string, string> {
  return { grant_type: "password", username: user, password };
}

/** Returns the parameters of a refresh-token grant. */
export function refreshGrant(token: string): Record<string, string> {
  return { grant_type: "refresh_token", refresh_token: token };
}

type BasicCredential = Extract<Credential, { kind: "basic" }>;

/** Returns `Basic <base64 of user:password>`. */
export function basicAuthorization({ user, password }: BasicCredential): string {
  return `Basic ${new TextEncoder().encode(`${user}:${password}`).toBase64()}`;
}

/** Lifetime of a token if the server gives none. */
const DEFAULT_LIFETIME_S = 60;

const ANSWER = v.object({
  token: v.optional(v.string()),
  access_token: v.optional(v.string()),
  expires_in: v.optional(v.number()),
  refresh_token: v.optional(v.string()),
});

/** A granted token. */
export interface TokenResponse {
  /** The token, to be sent after "Bearer ". */
  readonly value: string;
  readonly lifetimeMs: number;
  /** Replaces the identity token that was sent, which may be valid only once. */
  readonly identityToken: string | undefined;
}

/**
 * Parses the body of a 200.
 *
 * @param host the server's name for messages, which never quote the body
 * @throws {TransferError} "unavailable" if there is no token
 */
export function parseTokenResponse(text: string, host: string): TokenResponse {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw invalidResponse(`${host} returned no JSON`);
    throw error;
  }
  const result = parseWith(ANSWER, document);
  const value = result.ok ? result.value.token || result.value.access_token : undefined;
  if (!result.ok || value === undefined || !/^[\x21-\x7e]+$/.test(value)) {
    throw invalidResponse(`${host} returned no token`);
  }
  const { expires_in = DEFAULT_LIFETIME_S, refresh_token } = result.value;
  return { value, lifetimeMs: Math.max(0, expires_in) * 1000, identityToken: refresh_token || undefined };
}

const OAUTH_ERROR =
  /"error"\s*:\s*"(invalid_(?:request|client|grant|scope)|unauthorized_client|unsupported_grant_type|access_denied)"/;
/** OAuth error codes of a wrong, expired or revoked credential, sent with HTTP 400. */
const REFUSED = new Set(["invalid_client", "invalid_grant", "unauthorized_client", "access_denied"]);

/** Returns the error for a response other than 200. Reads the body. */
export async function tokenError(response: HttpResponse): Promise<TransferError> {
  const code = OAUTH_ERROR.exec(await errorBody(response))?.[1];
  const error = errorOfStatus(response, code);
  const { state, status = response.status } = error;
  if (code !== undefined && REFUSED.has(code)) {
    return new TransferError("unauthorized", state, { prospect: "permanent", status });
  }
  // a 404 means that the token server is missing, not the resource
  if (error.code === "not-found") return new TransferError("unavailable", state, { prospect: "permanent", status });
  return error;
}

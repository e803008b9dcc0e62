/**
 * What a registry is shown to prove who asks.
 *
 * @module
 */

/** The origin of a credential, for messages. */
export interface CredentialSource {
  /** "/root/.docker/config.json", "IMAGE_PULL_AUTH". */
  readonly name: string;
  /** How to replace the credential. Default: `docker login HOST`. */
  readonly hint?: string;
}

/** A credential. */
export type Credential =
  & (
    | { readonly kind: "basic"; readonly user: string; readonly password: string }
    /** A refresh token for the token server; not accepted by the registry itself. */
    | { readonly kind: "identity-token"; readonly token: string }
    /** A bearer token for the registry itself. */
    | { readonly kind: "registry-token"; readonly token: string }
  )
  & { readonly source: CredentialSource };

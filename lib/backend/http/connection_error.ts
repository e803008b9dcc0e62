/**
 * Translates Node's socket and TLS error codes into {@link TransferError}.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { TransferError } from "./transfer_error.ts";

/** An error of a socket. */
type SocketError = Error & { code?: string };

/** The other end of a connection, as named in messages. */
export interface Peer {
  /** "registry.example.com:5000", "proxy 10.0.0.1:3128". */
  readonly name: string;
  /** The name to resolve: "registry.example.com". */
  readonly hostname: string;
  /** Of a proxy: what the user can change if it cannot be reached. */
  readonly remedy?: string;
}

/** A proxy failed to open a tunnel. The message is a complete state: "proxy 10.0.0.1:3128 …". */
export class TunnelError extends Error {
  override readonly name = "TunnelError";
  constructor(message: string, readonly remedy: string) {
    super(message);
  }
}

/** What a connection was used for when it failed. */
export type ConnectionPhase = "handshake" | "exchange";

/** Certificate errors, which a retry does not fix. */
const CERTIFICATE_ERRORS =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/;

/** The error for a connection that the peer closed without an error of its own. */
export function disconnect(): SocketError {
  return Object.assign(new Error("the other end closed the connection"), { code: "ECONNRESET" });
}

/** Whether the peer closed the connection. */
export function isDisconnect(error: SocketError): boolean {
  return error.code === "ECONNRESET" || error.code === "EPIPE" || error.code === "ECONNABORTED";
}

/**
 * Returns the error for a failed connection to `peer`.
 *
 * @param during "handshake": of TLS
 */
export function connectionError(error: SocketError, peer: Peer, during: ConnectionPhase): TransferError {
  const details = { cause: error, prospect: "transient" } as const;
  if (error instanceof TunnelError) {
    return new TransferError("unavailable", error.message, { ...details, hint: error.remedy });
  }
  const code = error.code ?? "";
  if (CERTIFICATE_ERRORS.test(code)) {
    return new TransferError("unavailable", `certificate of ${peer.name} is not trusted (${error.message})`, {
      ...details,
      prospect: "permanent",
      // the runtime does not distinguish one that has expired
      hint: `put its CA into /etc/docker/certs.d/${peer.name}/ca.crt or ca_cert_files, or correct the clock here`,
    });
  }
  if (during === "handshake" && (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "EPROTO" || isDisconnect(error))) {
    return new TransferError("unavailable", `${peer.name} does not speak TLS`, { ...details, notTls: true });
  }
  const hint = peer.remedy ?? hintOf(code, peer);
  return new TransferError(
    "unavailable",
    stateOf(error, code, peer),
    hint === undefined ? details : { ...details, hint },
  );
}

/** Returns a hint for errors that the user can fix. */
function hintOf(code: string, { name, hostname }: Peer): string | undefined {
  switch (code) {
    case "ECONNREFUSED":
      return `nothing is listening there: start the server, or correct the address ${name}`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `correct the name, or check /etc/resolv.conf until getent hosts ${hostname} succeeds`;
    default:
      return undefined;
  }
}

function stateOf(error: SocketError, code: string, { name, hostname }: Peer): string {
  switch (code) {
    case "ECONNREFUSED":
      return `connection to ${name} refused`;
    case "ECONNRESET":
    case "EPIPE":
      return `connection to ${name} lost`;
    case "ENOTFOUND":
      return `no address for ${hostname}`;
    case "EAI_AGAIN":
      return `no address for ${hostname} at the moment`;
    case "HPE_HEADER_OVERFLOW":
      return `${name} answers with endless headers`;
    default:
      return code.startsWith("HPE_")
        ? `${name} does not speak HTTP`
        : `connection to ${name} failed (${messageOf(error)})`;
  }
}

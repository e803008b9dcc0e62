/**
 * What goes wrong between two machines, in words: Node's error codes as errors of ours.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { TransferError } from "./transfer_error.ts";

/** A failure below HTTP. */
type SocketError = Error & { code?: string };

/** The other end, as far as messages name it. */
export interface Peer {
  /** "registry.example.com:5000", "proxy 10.0.0.1:3128". */
  readonly name: string;
  /** The name that is looked up: "registry.example.com". */
  readonly hostname: string;
}

/** A proxy did not make the way to the host free. The message is a whole state: "proxy 10.0.0.1:3128 …". */
export class TunnelError extends Error {
  override readonly name = "TunnelError";
}

/** Failures of certificates: asking again does not mend them. */
const CERTIFICATE_ERRORS =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/;

/** The other end closed the connection without a word. */
export function disconnect(): SocketError {
  return Object.assign(new Error("the other end closed the connection"), { code: "ECONNRESET" });
}

/** True where the other end closed the connection. */
export function isDisconnect(error: SocketError): boolean {
  return error.code === "ECONNRESET" || error.code === "EPIPE" || error.code === "ECONNABORTED";
}

/**
 * The error of a connection to `peer`.
 *
 * @param handshaking TLS was being negotiated
 */
export function connectionError(error: SocketError, peer: Peer, handshaking: boolean): TransferError {
  const details = { cause: error, prospect: "transient" } as const;
  if (error instanceof TunnelError) return new TransferError("unavailable", error.message, details);
  const code = error.code ?? "";
  if (CERTIFICATE_ERRORS.test(code)) {
    return new TransferError("unavailable", `certificate of ${peer.name} is not trusted (${error.message})`, {
      ...details,
      prospect: "permanent",
      hint: `put its CA into /etc/docker/certs.d/${peer.name}/ca.crt or ca_cert_files`,
    });
  }
  if (handshaking && (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "EPROTO" || isDisconnect(error))) {
    return new TransferError("unavailable", `${peer.name} does not speak TLS`, { ...details, notTls: true });
  }
  return new TransferError("unavailable", stateOf(error, code, peer), details);
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

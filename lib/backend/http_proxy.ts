/**
 * The backend `http-proxy`: blobs as files on a plain HTTP server.
 *
 * ```
 * http://host:port, https://…   <addr><path>/<blob id>
 * /run/blobs.sock               "/" on that Unix socket, whatever the id: such a socket serves one blob
 * ```
 * A user and password in the address are sent as Basic credentials and never displayed.
 *
 * @module
 */
import { unescape } from "node:querystring";
import { NydusGdError } from "../base/errors.ts";
import type { HttpProxyConfig } from "./backend_config.ts";
import { checkBlobName } from "./blob_id.ts";
import type { Backend, BlobSource } from "./blob_source.ts";
import { type BlobServer, type Headers, HttpBlob, type ReadMethod, type ServerAccess } from "./http/http_blob.ts";
import type { HttpResponse } from "./http/http_response.ts";
import { statusError } from "./http/status.ts";
import type { TransferError } from "./http/transfer_error.ts";

/** Placeholder URL of requests over a Unix socket. */
const SOCKET_URL = new URL("http://localhost/");

/** One server, or one Unix socket. */
export class HttpProxyBackend implements Backend, BlobServer {
  readonly description: string;
  readonly access: ServerAccess;
  /** Undefined: a Unix socket. */
  readonly #folder: URL | undefined;
  readonly #credential: Headers;

  /** @throws {NydusGdError} "config" if `addr` has neither form */
  constructor({ addr, path }: Pick<HttpProxyConfig, "addr" | "path">, access: ServerAccess) {
    const isSocket = addr.startsWith("/");
    const folder = isSocket ? undefined : folderUrl(addr, path);
    this.#credential = folder === undefined ? {} : takeCredential(folder);
    this.#folder = folder;
    this.access = isSocket ? { ...access, exchange: { ...access.exchange, socketPath: addr } } : access;
    this.description = `http-proxy ${folder?.href ?? addr}`;
  }

  /** @throws {NydusGdError} "invalid-image" if the ID is not a file name */
  blob(id: string): BlobSource {
    const name = encodeURIComponent(checkBlobName(id));
    return new HttpBlob(this, id, this.#folder === undefined ? SOCKET_URL : new URL(`${this.#folder.href}${name}`));
  }

  authorize(_method: ReadMethod, _url: URL, headers: Headers): Promise<Headers> {
    return Promise.resolve({ ...headers, ...this.#credential });
  }

  refusal(response: HttpResponse): Promise<TransferError> {
    return statusError(response);
  }
}

/** Returns `<addr><path>/`, with single slashes between the parts. */
function folderUrl(addr: string, path: string): URL {
  const text = [addr, path].map((part) => part.replace(/^\/+|\/+$/g, "")).filter((part) => part !== "").join("/");
  const url = URL.canParse(`${text}/`) ? new URL(`${text}/`) : undefined;
  if (url === undefined || !/^https?:\/\//i.test(addr) || url.search !== "" || url.hash !== "") {
    throw new NydusGdError(
      "config",
      "Cannot open backend http-proxy: its addr and path do not form the URL of a folder",
      {
        hint: "set addr to http://HOST:PORT, https://HOST:PORT or the absolute path of a Unix socket",
      },
    );
  }
  return url;
}

/** Removes user and password from a URL and returns them as an Authorization header. */
function takeCredential(url: URL): Headers {
  if (url.username === "" && url.password === "") return {};
  const plain = `${unescape(url.username)}:${unescape(url.password)}`;
  url.username = url.password = "";
  return { authorization: `Basic ${new TextEncoder().encode(plain).toBase64()}` };
}

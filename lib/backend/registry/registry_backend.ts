/**
 * The backend `registry`: the blobs of one repository.
 *
 * @module
 */
import type { Backend, BlobSource } from "../blob_source.ts";
import { RegistryBlob } from "./blob.ts";
import type { Repository } from "./repository.ts";

/** One repository; its blobs share logins, connections and limits. */
export class RegistryBackend implements Backend {
  readonly description: string;

  /** @param transport also used for manifests */
  constructor(readonly transport: Repository) {
    this.description = transport.description;
  }

  /** @throws {NydusGdError} "invalid-image" if the ID is not a sha256 */
  blob(id: string): BlobSource {
    return new RegistryBlob(this.transport, id);
  }
}

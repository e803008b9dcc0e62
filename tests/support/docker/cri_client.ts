/**
 * The part of Kubernetes' interface to containerd that pulls images, as a kubelet uses it.
 *
 * Source: k8s.io/cri-api, pkg/apis/runtime/v1/api.proto.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Client, credentials } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { PATIENCE_MS } from "../until.ts";

const PROTO = `
syntax = "proto3";
package runtime.v1;
message ImageSpec { string image = 1; }
message PullImageRequest { ImageSpec image = 1; }
message PullImageResponse { string image_ref = 1; }
message RemoveImageRequest { ImageSpec image = 1; }
message RemoveImageResponse {}
`;

const { root } = protobuf.parse(PROTO);

/** Pulls an image. @param socket containerd's @throws {Error} with containerd's message */
export function pullByCri(socket: string, image: string): Promise<void> {
  return call(socket, "PullImage", { image: { image } });
}

/** Removes an image with all its names. */
export function removeByCri(socket: string, image: string): Promise<void> {
  return call(socket, "RemoveImage", { image: { image } });
}

async function call(socket: string, method: "PullImage" | "RemoveImage", request: object): Promise<void> {
  const [requestType, responseType] = [`${method}Request`, `${method}Response`].map((name) =>
    root.lookupType(`runtime.v1.${name}`)
  );
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  try {
    await new Promise((resolve, reject) =>
      client.makeUnaryRequest(
        `/runtime.v1.ImageService/${method}`,
        (message: object) => Buffer.from(requestType?.encode(requestType.create(message)).finish() ?? []),
        (bytes: Uint8Array) => responseType?.decode(bytes),
        request,
        { deadline: Date.now() + PATIENCE_MS },
        (error, response) => error === null ? resolve(response) : reject(error),
      )
    );
  } finally {
    client.close();
  }
}

/**
 * The Worker that decodes chunks: decompress, digest, write. See chunk_decoder.ts.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { checkChunks, type ChunkFailure, decodeChunks, type DecodeTarget } from "./chunk_decoder.ts";
import { prepareDigests } from "./codec.ts";
import type { DecodeReply, DecodeRequest } from "./decode_messages.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<DecodeRequest>) => void) | null;
  postMessage(reply: DecodeReply): void;
};

const targets = new Map<number, DecodeTarget>();

function work(request: DecodeRequest & { type: "decode" | "check" }): readonly ChunkFailure[] {
  const target = targets.get(request.key);
  if (target === undefined) throw new Error(`Cannot decode: blob ${request.key} is not known`);
  return request.type === "decode"
    ? decodeChunks(target, request.rows, request.stored, request.offset)
    : checkChunks(target, request.rows);
}

scope.onmessage = ({ data: request }) => {
  switch (request.type) {
    case "target":
      targets.set(request.target.key, request.target);
      return;
    case "drop":
      targets.delete(request.key);
      return;
    case "decode":
    case "check":
      try {
        scope.postMessage({ type: "done", failures: work(request) });
      } catch (error) {
        scope.postMessage({ type: "failed", message: messageOf(error) });
      }
  }
};

await prepareDigests();
scope.postMessage({ type: "started" });

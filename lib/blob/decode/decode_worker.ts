/**
 * The Worker that decodes chunks: decompresses, verifies and, where requested, writes. See chunk_decoder.ts.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { checkChunks, type ChunkFailure, decodeChunks, type DecodeTarget, verifyChunks } from "./chunk_decoder.ts";
import { columnsOf } from "../tables/chunk_table_file.ts";
import { prepareDigests } from "../codec/codec.ts";
import type { DecodeReply, DecodeRequest } from "./decode_messages.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<DecodeRequest>) => void) | null;
  postMessage(reply: DecodeReply): void;
};

const targets = new Map<number, DecodeTarget>();

function work(request: DecodeRequest & { type: "decode" | "verify" | "check" }): readonly ChunkFailure[] {
  if (request.type === "verify") return verifyChunks(request.coding, request);
  const target = targets.get(request.key);
  if (target === undefined) throw new Error(`Cannot decode: blob ${request.key} is not known`);
  return request.type === "decode" ? decodeChunks(target, request) : checkChunks(target, request.rows);
}

scope.onmessage = ({ data: request }) => {
  switch (request.type) {
    case "target":
      targets.set(request.target.key, { ...request.target, columns: columnsOf(request.target.columns) });
      return;
    case "drop":
      targets.delete(request.key);
      return;
    case "decode":
    case "verify":
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

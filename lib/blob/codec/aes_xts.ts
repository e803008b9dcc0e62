/**
 * AES-128-XTS decryption as nydus encrypts blobs: each unit (a chunk, a batch, the compression info, its header) is
 * encrypted separately, all with the same IV.
 *
 * Not every runtime provides XTS through `node:crypto`, but ECB is always available, and XTS is ECB between two XORs
 * with the tweaks.
 *
 * Sources: IEEE 1619-2018; dragonflyoss/nydus utils/src/crypt.rs for units shorter than a block.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { nodeCrypto } from "../../base/node_modules.ts";
import type { BlobCipher } from "../../rafs/bootstrap.ts";

const BLOCK = 16;
const HALF_KEY = 16;

/**
 * A unit shorter than a block is padded to one block whose last byte is the number of padding bytes, and two marker
 * bytes are appended.
 */
const SHORT = { SIZE: 18, MARK: [0x78, 0x90] } as const;

/**
 * Decrypts the stored bytes of a unit.
 *
 * @throws {NydusGdError} "corrupt" for fewer than 16 bytes; every unit has at least one block
 */
export function decryptXts({ key, iv }: BlobCipher, stored: Uint8Array): Uint8Array<ArrayBuffer> {
  if (stored.length < BLOCK) {
    throw new NydusGdError("corrupt", `Cannot decrypt: ${stored.length} bytes, expected ${BLOCK} at least`);
  }
  const rest = stored.length % BLOCK;
  const whole = stored.length - rest;
  const plain = stored.slice();
  const tweaks = tweaksOf(key.subarray(HALF_KEY), iv, whole / BLOCK + (rest > 0 ? 1 : 0));
  const straight = rest > 0 ? whole - BLOCK : whole;
  plain.set(decryptBlocks(key, stored.subarray(0, straight), tweaks.subarray(0, straight)));
  if (rest > 0) stealCiphertext(key, stored.subarray(straight), tweaks.subarray(straight), plain.subarray(straight));
  return withoutFill(plain);
}

/** Decrypts the last whole block and the partial block after it (ciphertext stealing). */
function stealCiphertext(key: Uint8Array, stored: Uint8Array, tweaks: Uint8Array, plain: Uint8Array): void {
  const rest = stored.length - BLOCK;
  const last = decryptBlocks(key, stored.subarray(0, BLOCK), tweaks.subarray(BLOCK));
  const borrowed = new Uint8Array(BLOCK);
  borrowed.set(stored.subarray(BLOCK));
  borrowed.set(last.subarray(rest), rest);
  plain.set(decryptBlocks(key, borrowed, tweaks.subarray(0, BLOCK)));
  plain.set(last.subarray(0, rest), BLOCK);
}

function decryptBlocks(key: Uint8Array, blocks: Uint8Array, tweaks: Uint8Array): Uint8Array {
  if (blocks.length === 0) return blocks;
  const decipher = nodeCrypto().createDecipheriv("aes-128-ecb", key.subarray(0, HALF_KEY), null).setAutoPadding(false);
  const plain = decipher.update(xor(blocks, tweaks));
  decipher.final();
  return xor(plain, tweaks);
}

function xor(bytes: Uint8Array, mask: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < out.length; i++) out[i] = (bytes[i] as number) ^ (mask[i] as number);
  return out;
}

/** The tweaks of `count` blocks: the encrypted IV, multiplied by alpha once more for each block. */
function tweaksOf(key: Uint8Array, iv: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(count * BLOCK);
  const view = new DataView(out.buffer);
  const cipher = nodeCrypto().createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
  out.set(cipher.update(iv));
  cipher.final();
  for (let at = BLOCK; at < out.length; at += BLOCK) {
    let carry = (view.getUint32(at - 4, true) >>> 31) * 0x87;
    for (let word = 0; word < BLOCK; word += 4) {
      const before = view.getUint32(at - BLOCK + word, true);
      view.setUint32(at + word, ((before << 1) ^ carry) >>> 0, true);
      carry = before >>> 31;
    }
  }
  return out;
}

function withoutFill(plain: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const [first, second] = SHORT.MARK;
  if (plain.length !== SHORT.SIZE || plain[BLOCK] !== first || plain[BLOCK + 1] !== second) return plain;
  const fill = plain[BLOCK - 1] as number;
  return fill >= 1 && fill <= BLOCK ? plain.subarray(0, BLOCK - fill) : plain;
}

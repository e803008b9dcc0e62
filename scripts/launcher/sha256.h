/* SHA-256, FIPS 180-4. Plain C: it runs over the table at every start, and over the files when they are unpacked. */
#ifndef NYDUS_GD_SHA256_H
#define NYDUS_GD_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sha256 {
  uint32_t state[8];
  uint64_t length; /* bytes so far */
  uint8_t block[64];
};

static const uint32_t SHA256_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t sha256_rotate(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static inline void sha256_blocks(uint32_t state[8], const uint8_t *data, size_t blocks) {
  uint32_t w[64];
  for (; blocks > 0; blocks--, data += 64) {
    for (int i = 0; i < 16; i++) {
      uint32_t word;
      memcpy(&word, data + 4 * i, 4);
      w[i] = __builtin_bswap32(word); /* little-endian hosts only: see the check in pack.h */
    }
    for (int i = 16; i < 64; i++) {
      uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ a >> 3) +
             (sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ b >> 10);
    }
    uint32_t s[8];
    memcpy(s, state, sizeof s);
    /* The eight words move on by one a round: the names move instead, so that nothing is copied. */
    for (int i = 0; i < 64; i += 8) {
#define SHA256_ROUND(n, a, b, c, d, e, f, g, h)                                                              \
  {                                                                                                          \
    uint32_t t1 = s[h] + (sha256_rotate(s[e], 6) ^ sha256_rotate(s[e], 11) ^ sha256_rotate(s[e], 25)) +      \
                  ((s[e] & s[f]) ^ (~s[e] & s[g])) + SHA256_K[i + n] + w[i + n];                             \
    s[d] += t1;                                                                                              \
    s[h] = t1 + (sha256_rotate(s[a], 2) ^ sha256_rotate(s[a], 13) ^ sha256_rotate(s[a], 22)) +               \
           ((s[a] & s[b]) ^ (s[a] & s[c]) ^ (s[b] & s[c]));                                                  \
  }
      SHA256_ROUND(0, 0, 1, 2, 3, 4, 5, 6, 7)
      SHA256_ROUND(1, 7, 0, 1, 2, 3, 4, 5, 6)
      SHA256_ROUND(2, 6, 7, 0, 1, 2, 3, 4, 5)
      SHA256_ROUND(3, 5, 6, 7, 0, 1, 2, 3, 4)
      SHA256_ROUND(4, 4, 5, 6, 7, 0, 1, 2, 3)
      SHA256_ROUND(5, 3, 4, 5, 6, 7, 0, 1, 2)
      SHA256_ROUND(6, 2, 3, 4, 5, 6, 7, 0, 1)
      SHA256_ROUND(7, 1, 2, 3, 4, 5, 6, 7, 0)
#undef SHA256_ROUND
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
  }
}

static inline void sha256_init(struct sha256 *h) {
  static const uint32_t START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(h->state, START, sizeof START);
  h->length = 0;
}

static inline void sha256_update(struct sha256 *h, const uint8_t *data, size_t length) {
  size_t held = h->length % 64;
  h->length += length;
  if (held > 0) {
    size_t take = length < 64 - held ? length : 64 - held;
    memcpy(h->block + held, data, take);
    data += take;
    length -= take;
    if (held + take < 64) return;
    sha256_blocks(h->state, h->block, 1);
  }
  sha256_blocks(h->state, data, length / 64);
  memcpy(h->block, data + length / 64 * 64, length % 64);
}

static inline void sha256_final(struct sha256 *h, uint8_t digest[32]) {
  uint64_t bits = __builtin_bswap64(h->length * 8);
  static const uint8_t PADDING[64] = {0x80};
  sha256_update(h, PADDING, 1 + (119 - h->length % 64) % 64);
  sha256_update(h, (const uint8_t *)&bits, 8);
  for (int i = 0; i < 8; i++) {
    uint32_t word = __builtin_bswap32(h->state[i]);
    memcpy(digest + 4 * i, &word, 4);
  }
}

#endif

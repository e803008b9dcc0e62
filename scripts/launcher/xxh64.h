/*
 * XXH64 with seed 0, after "xxHash fast digest algorithm" (doc/xxhash_spec.md of the xxHash project, version 0.2.0).
 *
 * A checksum against damage, not against an adversary: a random change goes unseen once in 2^64. Portable C, about 10 GB/s.
 * The data comes in any number of calls of xxh64_stripes(), then one of xxh64_final() with the rest.
 */
#ifndef NYDUS_GD_XXH64_H
#define NYDUS_GD_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH64_STRIPE 32

static const uint64_t XXH64_PRIME[6] = {
    [1] = 0x9E3779B185EBCA87, [2] = 0xC2B2AE3D27D4EB4F, [3] = 0x165667B19E3779F9,
    [4] = 0x85EBCA77C2B2AE63, [5] = 0x27D4EB2F165667C5,
};

struct xxh64 {
  uint64_t lane[4];
  uint64_t length; /* bytes so far */
};

static inline uint64_t xxh64_rotate(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline uint64_t xxh64_word(const uint8_t *data) {
  uint64_t word;
  memcpy(&word, data, 8); /* little-endian hosts only: see the check in pack.h */
  return word;
}

static inline uint64_t xxh64_round(uint64_t lane, uint64_t word) {
  return xxh64_rotate(lane + word * XXH64_PRIME[2], 31) * XXH64_PRIME[1];
}

static inline void xxh64_init(struct xxh64 *h) {
  *h = (struct xxh64){{XXH64_PRIME[1] + XXH64_PRIME[2], XXH64_PRIME[2], 0, -XXH64_PRIME[1]}, 0};
}

/* `length` must be a multiple of XXH64_STRIPE. */
static inline void xxh64_stripes(struct xxh64 *h, const uint8_t *data, size_t length) {
  /* The lanes stand in registers: each waits for its own multiplication only. */
  uint64_t a = h->lane[0], b = h->lane[1], c = h->lane[2], d = h->lane[3];
  h->length += length;
  for (const uint8_t *end = data + length; data < end; data += XXH64_STRIPE) {
    a = xxh64_round(a, xxh64_word(data));
    b = xxh64_round(b, xxh64_word(data + 8));
    c = xxh64_round(c, xxh64_word(data + 16));
    d = xxh64_round(d, xxh64_word(data + 24));
  }
  h->lane[0] = a, h->lane[1] = b, h->lane[2] = c, h->lane[3] = d;
}

/* The digest; `length` of `rest` must be less than XXH64_STRIPE. */
static inline uint64_t xxh64_final(const struct xxh64 *h, const uint8_t *rest, size_t length) {
  uint64_t x = XXH64_PRIME[5];
  if (h->length > 0) {
    x = xxh64_rotate(h->lane[0], 1) + xxh64_rotate(h->lane[1], 7) + xxh64_rotate(h->lane[2], 12) +
        xxh64_rotate(h->lane[3], 18);
    for (int i = 0; i < 4; i++) x = (x ^ xxh64_round(0, h->lane[i])) * XXH64_PRIME[1] + XXH64_PRIME[4];
  }
  x += h->length + length;
  for (; length >= 8; rest += 8, length -= 8)
    x = xxh64_rotate(x ^ xxh64_round(0, xxh64_word(rest)), 27) * XXH64_PRIME[1] + XXH64_PRIME[4];
  if (length >= 4) {
    uint32_t half;
    memcpy(&half, rest, 4);
    x = xxh64_rotate(x ^ half * XXH64_PRIME[1], 23) * XXH64_PRIME[2] + XXH64_PRIME[3];
    rest += 4, length -= 4;
  }
  for (; length > 0; rest++, length--) x = xxh64_rotate(x ^ *rest * XXH64_PRIME[5], 11) * XXH64_PRIME[1];
  x = (x ^ x >> 33) * XXH64_PRIME[2];
  x = (x ^ x >> 29) * XXH64_PRIME[3];
  return x ^ x >> 32;
}

#endif

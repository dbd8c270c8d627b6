/* What the log-mel in integers spends its time on, in assembly of processors with the DSP extension (Cortex-M4, M7, M33).
 * Without it SCENELET_DSP is not defined, and the same is computed in C. */
#ifndef SCENELET_FRONT_END_CORTEX_M_H
#define SCENELET_FRONT_END_CORTEX_M_H

#include <stdint.h>

#include "scenelet_dsp.h"
#include "scenelet_front_end_tables.h"

/* Also where the compiler is to save bytes. */
#if defined(__GNUC__)
#define SCENELET_INLINE static inline __attribute__((always_inline))
#else
#define SCENELET_INLINE static inline
#endif

/* The upper 32 of the 48 bits of a product with the first and with the second constant of a pair; the upper 32 of the 64
 * bits of a product, alone, added, and subtracted; the lowest SCENELET_BITS bits of a number from back to front; and how
 * many bits before the first that is 1. */
#ifdef SCENELET_DSP
SCENELET_INLINE int32_t scenelet_times_first(int32_t value, int32_t pair)
{
    int32_t found;
    __asm__("smulwb %0, %1, %2" : "=r"(found) : "r"(value), "r"(pair));
    return found;
}

SCENELET_INLINE int32_t scenelet_times_second(int32_t value, int32_t pair)
{
    int32_t found;
    __asm__("smulwt %0, %1, %2" : "=r"(found) : "r"(value), "r"(pair));
    return found;
}

SCENELET_INLINE int32_t scenelet_times(int32_t value, int32_t factor)
{
    int32_t found;
    __asm__("smmul %0, %1, %2" : "=r"(found) : "r"(value), "r"(factor));
    return found;
}

SCENELET_INLINE int32_t scenelet_plus_times(int32_t sum, int32_t value, int32_t factor)
{
    int32_t found;
    __asm__("smmla %0, %1, %2, %3" : "=r"(found) : "r"(value), "r"(factor), "r"(sum));
    return found;
}

SCENELET_INLINE int32_t scenelet_minus_times(int32_t sum, int32_t value, int32_t factor)
{
    int32_t found;
    __asm__("smmls %0, %1, %2, %3" : "=r"(found) : "r"(value), "r"(factor), "r"(sum));
    return found;
}

SCENELET_INLINE uint32_t scenelet_reversed(uint32_t number)
{
    uint32_t found;
    __asm__("rbit %0, %1" : "=r"(found) : "r"(number));
    return found >> (32 - SCENELET_BITS);
}

SCENELET_INLINE uint32_t scenelet_leading_zeros(uint32_t value)
{
    uint32_t found;
    __asm__("clz %0, %1" : "=r"(found) : "r"(value));
    return found;
}
/* See scenelet_spectrum.c. The values of b and d lie `to_re` and `to_im` bytes behind those of a and c. */
static inline void scenelet_combine_turned(int32_t *a, uint32_t quarter, const int32_t *factors)
{
    const uint32_t to_re = 4 * quarter, to_im = to_re + 4; /* bytes from b to d and from a to c */
    int32_t s, t, u, v, w, x, y, h, i;
    __asm__ volatile(
        "add %[p], %[p], %[re], lsl #1\n" /* to b */
        "ldr %[w], [%[f]], #24\n"
        "ldr %[x], [%[f], #-20]\n"
        "1:\n"
        "ldr %[s], [%[p]]\n"
        "ldr %[t], [%[p], #4]\n"
        "ldr %[u], [%[p], %[re]]\n"
        "ldr %[v], [%[p], %[im]]\n"
        "ldr %[h], [%[f], #-16]\n"
        "ldr %[i], [%[f], #-12]\n"
        "smmul %[y], %[s], %[w]\n" /* b turned: y, t */
        "smmls %[y], %[t], %[x], %[y]\n"
        "smmul %[t], %[t], %[w]\n"
        "smmla %[t], %[s], %[x], %[t]\n"
        "smmul %[s], %[u], %[h]\n" /* d turned: s, v */
        "smmls %[s], %[v], %[i], %[s]\n"
        "smmul %[v], %[v], %[h]\n"
        "smmla %[v], %[u], %[i], %[v]\n"
        "add %[u], %[y], %[s]\n" /* odd: u, s; turn: y, t */
        "sub %[y], %[y], %[s]\n"
        "add %[s], %[t], %[v]\n"
        "sub %[t], %[t], %[v]\n"
        "sub %[p], %[p], %[re], lsl #1\n" /* to a */
        "ldr %[v], [%[p], %[re]]\n"
        "ldr %[w], [%[p], %[im]]\n"
        "ldr %[x], [%[f], #-8]\n"
        "ldr %[h], [%[f], #-4]\n"
        "smmul %[i], %[v], %[x]\n" /* c turned: i, w */
        "smmls %[i], %[w], %[h], %[i]\n"
        "smmul %[w], %[w], %[x]\n"
        "smmla %[w], %[v], %[h], %[w]\n"
        "ldr %[x], [%[p]]\n"
        "ldr %[h], [%[p], #4]\n"
        "add %[v], %[i], %[x], asr #2\n" /* sum: v, x; difference: i, w */
        "rsb %[i], %[i], %[x], asr #2\n"
        "add %[x], %[w], %[h], asr #2\n"
        "rsb %[w], %[w], %[h], asr #2\n"
        "add %[h], %[v], %[u]\n"
        "str %[h], [%[p]]\n"
        "sub %[v], %[v], %[u]\n"
        "add %[h], %[x], %[s]\n"
        "str %[h], [%[p], #4]\n"
        "sub %[x], %[x], %[s]\n"
        "add %[h], %[i], %[t]\n"
        "str %[h], [%[p], %[re]]\n"
        "sub %[i], %[i], %[t]\n"
        "sub %[h], %[w], %[y]\n"
        "str %[h], [%[p], %[im]]\n"
        "add %[w], %[w], %[y]\n"
        "add %[p], %[p], %[re], lsl #1\n" /* to b */
        "str %[i], [%[p], %[re]]\n"
        "str %[w], [%[p], %[im]]\n"
        "str %[x], [%[p], #4]\n"
        "str %[v], [%[p]], #8\n"
        "ldr %[w], [%[f]], #24\n"
        "ldr %[x], [%[f], #-20]\n"
        "cmp %[w], #0\n"
        "bne 1b\n"
        : [p] "+r"(a), [f] "+r"(factors), [s] "=&r"(s), [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v), [w] "=&r"(w),
          [x] "=&r"(x), [y] "=&r"(y), [h] "=&r"(h), [i] "=&r"(i)
        : [re] "r"(to_re), [im] "r"(to_im)
        : "cc", "memory");
}

/* See scenelet_spectrum.c. */
static inline void scenelet_split(int32_t *front, int32_t *back, const int32_t *factor)
{
    int32_t s, t, u, v, w, x, y, h;
    __asm__ volatile(
        "1:\n"
        "ldr %[s], [%[front]]\n"
        "ldr %[t], [%[front], #4]\n"
        "ldr %[u], [%[back]]\n"
        "ldr %[v], [%[back], #4]\n"
        "ldr %[w], [%[factor]], #8\n"
        "ldr %[x], [%[factor], #-4]\n"
        "asr %[s], %[s], #1\n"
        "asr %[t], %[t], #1\n"
        "add %[y], %[s], %[u], asr #1\n" /* even: y, h; odd: s, t */
        "sub %[s], %[s], %[u], asr #1\n"
        "sub %[h], %[t], %[v], asr #1\n"
        "add %[t], %[t], %[v], asr #1\n"
        "smmul %[u], %[s], %[w]\n" /* odd turned: u, v */
        "smmls %[u], %[t], %[x], %[u]\n"
        "smmul %[v], %[t], %[w]\n"
        "smmla %[v], %[s], %[x], %[v]\n"
        "add %[s], %[v], %[y], asr #1\n" /* the front's bin: s, t; the back's, of the other sign: y, h */
        "rsb %[t], %[u], %[h], asr #1\n"
        "rsb %[y], %[v], %[y], asr #1\n"
        "add %[h], %[u], %[h], asr #1\n"
        "smull %[w], %[x], %[s], %[s]\n" /* powers: w, x and u, v */
        "smlal %[w], %[x], %[t], %[t]\n"
        "smull %[u], %[v], %[y], %[y]\n"
        "smlal %[u], %[v], %[h], %[h]\n"
        "lsr %[w], %[w], #16\n"
        "orr %[w], %[w], %[x], lsl #16\n"
        "lsr %[x], %[x], #16\n"
        "lsr %[u], %[u], #16\n"
        "orr %[u], %[u], %[v], lsl #16\n"
        "lsr %[v], %[v], #16\n"
        "str %[v], [%[back], #4]\n"
        "str %[u], [%[back]], #-8\n"
        "str %[x], [%[front], #4]\n"
        "str %[w], [%[front]], #8\n"
        "cmp %[front], %[back]\n"
        "bls 1b\n"
        : [front] "+r"(front), [back] "+r"(back), [factor] "+r"(factor), [s] "=&r"(s), [t] "=&r"(t), [u] "=&r"(u),
          [v] "=&r"(v), [w] "=&r"(w), [x] "=&r"(x), [y] "=&r"(y), [h] "=&r"(h)
        :
        : "cc", "memory");
}

/* See scenelet_front_end.c; twice as many pairs as `twos` says. */
static inline uint32_t scenelet_store_forwards(const int16_t *at, const int32_t *window, uint32_t place, uint32_t twos,
                                               int32_t *z)
{
    const int32_t emphasis = -SCENELET_EMPHASIS;
    uint32_t bits = 0;
    int32_t r, s, t, u, w;
    __asm__ volatile(
        "ldrsh %[s], [%[at]], #2\n"
        "1:\n"
        "ldrsh %[t], [%[at]], #2\n"
        "ldrsh %[u], [%[at]], #2\n"
        "ldr %[w], [%[window]], #4\n"
        "smulbb %[s], %[s], %[emphasis]\n"
        "add %[s], %[s], %[t], lsl #15\n"
        "smulbb %[t], %[t], %[emphasis]\n"
        "add %[t], %[t], %[u], lsl #15\n"
        "rbit %[r], %[place]\n"
        "add %[place], %[place], #1\n"
        "lsr %[r], %[r], %[unused]\n"
        "add %[r], %[z], %[r], lsl #3\n"
        "smulwb %[s], %[s], %[w]\n"
        "smulwt %[t], %[t], %[w]\n"
        "str %[s], [%[r]]\n"
        "str %[t], [%[r], #4]\n"
        "eor %[s], %[s], %[s], asr #31\n"
        "orr %[bits], %[bits], %[s]\n"
        "eor %[t], %[t], %[t], asr #31\n"
        "orr %[bits], %[bits], %[t]\n"
        "ldrsh %[t], [%[at]], #2\n"
        "ldrsh %[s], [%[at]], #2\n"
        "ldr %[w], [%[window]], #4\n"
        "smulbb %[u], %[u], %[emphasis]\n"
        "add %[u], %[u], %[t], lsl #15\n"
        "smulbb %[t], %[t], %[emphasis]\n"
        "add %[t], %[t], %[s], lsl #15\n"
        "rbit %[r], %[place]\n"
        "add %[place], %[place], #1\n"
        "lsr %[r], %[r], %[unused]\n"
        "add %[r], %[z], %[r], lsl #3\n"
        "smulwb %[u], %[u], %[w]\n"
        "smulwt %[t], %[t], %[w]\n"
        "str %[u], [%[r]]\n"
        "str %[t], [%[r], #4]\n"
        "eor %[u], %[u], %[u], asr #31\n"
        "orr %[bits], %[bits], %[u]\n"
        "eor %[t], %[t], %[t], asr #31\n"
        "orr %[bits], %[bits], %[t]\n"
        "subs %[twos], %[twos], #1\n"
        "bne 1b\n"
        : [at] "+&r"(at), [window] "+&r"(window), [place] "+&r"(place), [twos] "+&r"(twos), [bits] "+&r"(bits),
          [r] "=&r"(r), [s] "=&r"(s), [t] "=&r"(t), [u] "=&r"(u), [w] "=&r"(w)
        : [z] "r"(z), [emphasis] "r"(emphasis), [unused] "I"(32 - SCENELET_BITS)
        : "cc", "memory");
    return bits;
}

/* See scenelet_front_end.c. */
static inline void scenelet_add_bins(const int32_t *bin, const uint16_t *share, const int32_t *end, uint64_t *all,
                                     uint64_t *risen)
{
    uint64_t sum = 0, part = 0;
    uint32_t low, high, factor;
    __asm__ volatile(
        "1:\n"
        "ldr %[low], [%[bin]], #8\n"
        "ldr %[high], [%[bin], #-4]\n"
        "ldrh %[factor], [%[share]], #2\n"
        "adds %Q[sum], %Q[sum], %[low]\n"
        "adc %R[sum], %R[sum], %[high]\n"
        "umlal %Q[part], %R[part], %[low], %[factor]\n"
        "mla %R[part], %[high], %[factor], %R[part]\n"
        "cmp %[bin], %[end]\n"
        "bne 1b\n"
        : [bin] "+r"(bin), [share] "+r"(share), [sum] "+r"(sum), [part] "+r"(part), [low] "=&r"(low),
          [high] "=&r"(high), [factor] "=&r"(factor)
        : [end] "r"(end)
        : "cc", "memory");
    *all = sum;
    *risen = part;
}
#else
SCENELET_INLINE int32_t scenelet_times_first(int32_t value, int32_t pair)
{
    return (int32_t)(((int64_t)value * (int16_t)(pair & 0xffff)) >> 16);
}

SCENELET_INLINE int32_t scenelet_times_second(int32_t value, int32_t pair)
{
    return (int32_t)(((int64_t)value * (pair >> 16)) >> 16);
}

SCENELET_INLINE int32_t scenelet_times(int32_t value, int32_t factor)
{
    return (int32_t)(((int64_t)value * factor) >> 32);
}

SCENELET_INLINE int32_t scenelet_plus_times(int32_t sum, int32_t value, int32_t factor)
{
    return sum + scenelet_times(value, factor);
}

SCENELET_INLINE int32_t scenelet_minus_times(int32_t sum, int32_t value, int32_t factor)
{
    return sum + (int32_t)(-((int64_t)value * factor) >> 32);
}

SCENELET_INLINE uint32_t scenelet_reversed(uint32_t number)
{
    number = (number & 0x55555555u) << 1 | (number >> 1 & 0x55555555u);
    number = (number & 0x33333333u) << 2 | (number >> 2 & 0x33333333u);
    number = (number & 0x0f0f0f0fu) << 4 | (number >> 4 & 0x0f0f0f0fu);
    number = (number & 0x00ff00ffu) << 8 | (number >> 8 & 0x00ff00ffu);
    return (number << 16 | number >> 16) >> (32 - SCENELET_BITS);
}

SCENELET_INLINE uint32_t scenelet_leading_zeros(uint32_t value)
{
    uint32_t found = 0, step;
    for (step = 16; step; step /= 2) {
        if (!(value >> (32 - step))) {
            value <<= step;
            found += step;
        }
    }
    return found;
}
#endif

#endif

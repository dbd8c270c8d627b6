/* The innermost loops in assembly of processors with the DSP extension (Cortex-M4, M7, M33): SMLAD makes two products a
 * cycle, SMMULR one rounded high product. Without it SCENELET_DSP is not defined, and scenelet_kernels.c computes the
 * same. */
#ifndef SCENELET_CORTEX_M_H
#define SCENELET_CORTEX_M_H

#include <stdint.h>

#include "scenelet_dsp.h"

#ifdef SCENELET_DSP

#ifdef __clang__
#pragma clang diagnostic ignored "-Woverlength-strings" /* assembly has no limit of 4095 characters */
#endif

#define SCENELET_NAKED __attribute__((naked, noinline))
#define SCENELET_UNUSED __attribute__((unused))

/* Two pixels as 16 bits, see `spread` of scenelet_kernels.c. */
static inline int16_t *scenelet_spread(int16_t *strip, const int8_t *first, const int8_t *second, int32_t groups)
{
    __asm__ volatile(
        "1:\n"
        "ldr r4, [%1], #4\n"
        "ldr r6, [%2], #4\n"
        "sxtb16 r5, r4, ror #8\n"
        "sxtb16 r4, r4\n"
        "sxtb16 r8, r6, ror #8\n"
        "sxtb16 r6, r6\n"
        "stmia %0!, {r4, r5, r6, r8}\n"
        "subs %3, %3, #1\n"
        "bne 1b\n"
        : "+r"(strip), "+r"(first), "+r"(second), "+r"(groups)
        :
        : "r4", "r5", "r6", "r8", "cc", "memory");
    return strip;
}

/* One of four sums, r2 (first pixel, first channel), r3 (first, second), r4 (second, first), r5 (second, second): rescaled
 * and cut off at 8 bits. `doubled` makes twice the sum of what was summed. */
#define SCENELET_ROUND(sum, doubled, multiplier, addend, shift) \
    doubled "smmulr " sum ", " sum ", " multiplier "\n" \
    "add " sum ", " sum ", " sum ", asr #31\n" \
    "add " sum ", " sum ", " addend "\n" \
    "asr " sum ", " sum ", " shift "\n" \
    "ssat " sum ", #8, " sum "\n"
#define SCENELET_TWICE(sum) "lsl " sum ", " sum ", #1\n"
#define SCENELET_EIGHTH(sum) "asr " sum ", " sum ", #3\n"
#define SCENELET_ROUND_ALL(doubled) \
    "ldmia r1!, {r6-r11}\n" \
    SCENELET_ROUND("r2", doubled("r2"), "r6", "r7", "r8") \
    SCENELET_ROUND("r4", doubled("r4"), "r6", "r7", "r8") \
    SCENELET_ROUND("r3", doubled("r3"), "r9", "r10", "r11") \
    SCENELET_ROUND("r5", doubled("r5"), "r9", "r10", "r11")
#define SCENELET_ROUND_ALL_8 SCENELET_ROUND_ALL(SCENELET_TWICE)
#define SCENELET_ROUND_ALL_4 SCENELET_ROUND_ALL(SCENELET_EIGHTH)
#define SCENELET_SHIFT(sum, shift) \
    "asr " sum ", " sum ", " shift "\n" \
    "ssat " sum ", #8, " sum "\n"
#define SCENELET_SHIFT_ALL_8 \
    "ldmia r1!, {r6, r7}\n" \
    SCENELET_SHIFT("r2", "r6") SCENELET_SHIFT("r4", "r6") SCENELET_SHIFT("r3", "r7") SCENELET_SHIFT("r5", "r7")

/* Four products of both pixels and one channel, whose weights are bytes of a register. */
#define SCENELET_PRODUCTS(weights, spread, first, second) \
    "sxtb16 " spread ", " weights "\n" \
    "smlad " first ", r6, " spread ", " first "\n" \
    "smlad " second ", r8, " spread ", " second "\n" \
    "sxtb16 " spread ", " weights ", ror #8\n" \
    "smlad " first ", r7, " spread ", " first "\n" \
    "smlad " second ", r9, " spread ", " second "\n"

/* Four values, 16 bytes of the strip, with weights of 8 bits: 16 products. */
#define SCENELET_STRIP_8 "16"
#define SCENELET_VALUES_8 \
    "ldmia r0!, {r6-r9}\n" \
    "ldmia r1!, {r10, r11}\n" \
    SCENELET_PRODUCTS("r10", "r12", "r2", "r4") \
    SCENELET_PRODUCTS("r11", "r12", "r3", "r5")

/* Eight values, 32 bytes, with weights of 4 bits, which become the upper halves of bytes: 16 times the products. */
#define SCENELET_STRIP_4 "32"
#define SCENELET_VALUES_4 \
    "ldmia r0!, {r6-r9}\n" \
    "ldmia r1!, {r10, r11}\n" \
    "and r12, r10, #0xf0f0f0f0\n" \
    "eor r10, r10, r12\n" \
    "lsl r10, r10, #4\n" \
    SCENELET_PRODUCTS("r10", "lr", "r2", "r4") \
    "and r10, r11, #0x0f0f0f0f\n" \
    "lsl r10, r10, #4\n" \
    SCENELET_PRODUCTS("r10", "lr", "r3", "r5") \
    "ldmia r0!, {r6-r9}\n" \
    SCENELET_PRODUCTS("r12", "lr", "r2", "r4") \
    "and r11, r11, #0xf0f0f0f0\n" \
    SCENELET_PRODUCTS("r11", "lr", "r3", "r5")

/* Where the first pixel's results go is in lr, which weights of 4 bits need in between. */
#define SCENELET_KEEP_8
#define SCENELET_TAKE_8
#define SCENELET_KEEP_4 "str lr, [sp, #8]\n"
#define SCENELET_TAKE_4 "ldr lr, [sp, #8]\n"

/* Sums of two pixels and two channels at a time, see `compute_pairs` of scenelet_kernels.c, over so many times four values,
 * or eight with weights of 4 bits. On the stack: from the first pixel's results to the second's, and the end of the first. */
#define SCENELET_DEFINE_PAIRS(bits, times, rounding) \
    SCENELET_NAKED static const uint32_t *scenelet_pairs_##bits##_##times##_##rounding( \
        const int16_t *strip SCENELET_UNUSED, const uint32_t *numbers SCENELET_UNUSED, int8_t *first SCENELET_UNUSED, \
        int8_t *second SCENELET_UNUSED, int32_t pairs SCENELET_UNUSED) \
    { \
        __asm__ volatile( \
            "push {r4-r11, lr}\n" \
            "ldr r5, [sp, #36]\n" \
            "mov lr, r2\n" \
            "sub r3, r3, r2\n" \
            "add r4, r2, r5, lsl #1\n" \
            "push {r3, r4, r5}\n" \
            "1:\n" \
            SCENELET_KEEP_##bits \
            "ldmia r1!, {r2, r3}\n" \
            "mov r4, r2\n" \
            "mov r5, r3\n" \
            ".rept " #times "\n" \
            SCENELET_VALUES_##bits \
            ".endr\n" \
            SCENELET_##rounding##_ALL_##bits \
            SCENELET_TAKE_##bits \
            "ldrd r6, r7, [sp]\n" \
            "sub r0, r0, #(" #times " * " SCENELET_STRIP_##bits ")\n" \
            "strb r4, [lr, r6]\n" \
            "strb r2, [lr], #1\n" \
            "strb r5, [lr, r6]\n" \
            "strb r3, [lr], #1\n" \
            "cmp lr, r7\n" \
            "bne 1b\n" \
            "mov r0, r1\n" \
            "add sp, sp, #12\n" \
            "pop {r4-r11, pc}\n"); \
    }
#define SCENELET_PAIRS(bits, times, rounding) scenelet_pairs_##bits##_##times##_##rounding

/* One column of the window's row of four pixels that lie `stride` columns apart: two channels are read, and multiplied
 * with the weights of those pixels whose window has the column. */
#define SCENELET_READ(channels, column, turn) \
    "ldr lr, [r0, #((" #column ") * (" #channels "))]\n" \
    "sxtb16 lr, lr" turn "\n"
#define SCENELET_CELL(weight, first, second) \
    "smlabb " first ", lr, " weight ", " first "\n" \
    "smlatt " second ", lr, " weight ", " second "\n"
#define SCENELET_WINDOW_1(channels, turn) \
    SCENELET_READ(channels, 0, turn) SCENELET_CELL("r10", "r2", "r6") \
    SCENELET_READ(channels, 1, turn) SCENELET_CELL("r11", "r2", "r6") SCENELET_CELL("r10", "r3", "r7") \
    SCENELET_READ(channels, 2, turn) SCENELET_CELL("r12", "r2", "r6") SCENELET_CELL("r11", "r3", "r7") \
    SCENELET_CELL("r10", "r4", "r8") \
    SCENELET_READ(channels, 3, turn) SCENELET_CELL("r12", "r3", "r7") SCENELET_CELL("r11", "r4", "r8") \
    SCENELET_CELL("r10", "r5", "r9") \
    SCENELET_READ(channels, 4, turn) SCENELET_CELL("r12", "r4", "r8") SCENELET_CELL("r11", "r5", "r9") \
    SCENELET_READ(channels, 5, turn) SCENELET_CELL("r12", "r5", "r9")
#define SCENELET_WINDOW_2(channels, turn) \
    SCENELET_READ(channels, 0, turn) SCENELET_CELL("r10", "r2", "r6") \
    SCENELET_READ(channels, 1, turn) SCENELET_CELL("r11", "r2", "r6") \
    SCENELET_READ(channels, 2, turn) SCENELET_CELL("r12", "r2", "r6") SCENELET_CELL("r10", "r3", "r7") \
    SCENELET_READ(channels, 3, turn) SCENELET_CELL("r11", "r3", "r7") \
    SCENELET_READ(channels, 4, turn) SCENELET_CELL("r12", "r3", "r7") SCENELET_CELL("r10", "r4", "r8") \
    SCENELET_READ(channels, 5, turn) SCENELET_CELL("r11", "r4", "r8") \
    SCENELET_READ(channels, 6, turn) SCENELET_CELL("r12", "r4", "r8") SCENELET_CELL("r10", "r5", "r9") \
    SCENELET_READ(channels, 7, turn) SCENELET_CELL("r11", "r5", "r9") \
    SCENELET_READ(channels, 8, turn) SCENELET_CELL("r12", "r5", "r9")
#define SCENELET_ROUND_FOUR(a, b, c, d) \
    "ldmia r1!, {r10-r12}\n" \
    SCENELET_ROUND(a, SCENELET_TWICE(a), "r10", "r11", "r12") SCENELET_ROUND(b, SCENELET_TWICE(b), "r10", "r11", "r12") \
    SCENELET_ROUND(c, SCENELET_TWICE(c), "r10", "r11", "r12") SCENELET_ROUND(d, SCENELET_TWICE(d), "r10", "r11", "r12")
#define SCENELET_SHIFT_FOUR(a, b, c, d) \
    "ldr r10, [r1], #4\n" \
    SCENELET_SHIFT(a, "r10") SCENELET_SHIFT(b, "r10") SCENELET_SHIFT(c, "r10") SCENELET_SHIFT(d, "r10")
#define SCENELET_WRITE(channels, more, a, b, c, d) \
    "strb " a ", [r0, #(" #more ")]\n" \
    "strb " b ", [r0, #(" #more " + " #channels ")]\n" \
    "strb " c ", [r0, #(" #more " + 2 * " #channels ")]\n" \
    "strb " d ", [r0, #(" #more " + 3 * " #channels ")]\n"
/* Channels 0 and 2 of four, or 1 and 3. On the stack: the three rows, and where the results go. */
#define SCENELET_TWO_CHANNELS(channels, window, turn, number, round) \
    "ldmia r1!, {r2, r6}\n" \
    "mov r3, r2\n" \
    "mov r4, r2\n" \
    "mov r5, r2\n" \
    "mov r7, r6\n" \
    "mov r8, r6\n" \
    "mov r9, r6\n" \
    "ldmia r1!, {r10-r12}\n" \
    "ldr r0, [sp]\n" \
    window(channels, turn) \
    "ldmia r1!, {r10-r12}\n" \
    "ldr r0, [sp, #4]\n" \
    window(channels, turn) \
    "ldmia r1!, {r10-r12}\n" \
    "ldr r0, [sp, #8]\n" \
    window(channels, turn) \
    round("r2", "r3", "r4", "r5") \
    round("r6", "r7", "r8", "r9") \
    "ldr r0, [sp, #12]\n" \
    SCENELET_WRITE(channels, number, "r2", "r3", "r4", "r5") \
    SCENELET_WRITE(channels, number + 2, "r6", "r7", "r8", "r9")
/* A window of 3 x 3 cells, channel by channel. */
#define SCENELET_DEFINE_FOUR(channels, stride, rounding) \
    SCENELET_NAKED static void scenelet_four_##channels##_##stride##_##rounding( \
        const int8_t *const *rows SCENELET_UNUSED, const uint32_t *numbers SCENELET_UNUSED, \
        int8_t *to SCENELET_UNUSED, int32_t groups SCENELET_UNUSED) \
    { \
        __asm__ volatile( \
            "push {r4-r11, lr}\n" \
            "ldmia r0, {r4-r6}\n" \
            "add r8, r2, r3, lsl #2\n" \
            "mov r7, r2\n" \
            "push {r4-r8}\n" \
            "1:\n" \
            SCENELET_TWO_CHANNELS(channels, SCENELET_WINDOW_##stride, "", 0, SCENELET_##rounding##_FOUR) \
            SCENELET_TWO_CHANNELS(channels, SCENELET_WINDOW_##stride, ", ror #8", 1, SCENELET_##rounding##_FOUR) \
            "ldm sp, {r2-r6}\n" \
            "add r2, r2, #4\n" \
            "add r3, r3, #4\n" \
            "add r4, r4, #4\n" \
            "add r5, r5, #4\n" \
            "stm sp, {r2-r5}\n" \
            "cmp r5, r6\n" \
            "bne 1b\n" \
            "add sp, sp, #20\n" \
            "pop {r4-r11, pc}\n"); \
    }
#define SCENELET_FOUR(channels, stride, rounding) scenelet_four_##channels##_##stride##_##rounding

/* The sum of two rows, four integers at a time, see `scenelet_add` of scenelet_kernels.c; results take the places of what
 * was read in r10. On the stack: where they go, and the end of the first row. */
#define SCENELET_ADD_ONE(turn, first, multiplied) \
    "sxtb r12, r10" turn "\n" \
    "sxtb lr, r11" turn "\n" \
    multiplied \
    "smmulr r12, r12, r7\n" \
    "add r12, r12, r12, asr #31\n" \
    "add r12, r12, r8\n" \
    "asr r12, r12, r9\n" \
    "ssat r12, #8, r12\n" \
    "bfi r10, r12, #" #first ", #8\n"
#define SCENELET_ADD_EQUAL \
    "add r12, r12, lr\n" \
    "add r12, r6, r12, lsl #20\n"
#define SCENELET_ADD_UNEQUAL \
    "add r12, r2, r12, lsl #21\n" \
    "smmulr r12, r12, r3\n" \
    "add r12, r12, r12, asr #31\n" \
    "add r12, r12, r4\n" \
    "asr r12, r12, r5\n" \
    "add lr, r6, lr, lsl #20\n" \
    "add r12, lr, r12, lsl #1\n"
#define SCENELET_DEFINE_ADD(scales) \
    SCENELET_NAKED static void scenelet_add_##scales( \
        const int8_t *first SCENELET_UNUSED, const int8_t *second SCENELET_UNUSED, int8_t *to SCENELET_UNUSED, \
        int32_t count SCENELET_UNUSED, const uint32_t *numbers SCENELET_UNUSED) \
    { \
        __asm__ volatile( \
            "push {r4-r11, lr}\n" \
            "ldr r12, [sp, #36]\n" \
            "add r3, r0, r3\n" \
            "push {r2, r3}\n" \
            "ldmia r12, {r2-r9}\n" \
            "1:\n" \
            "ldr r10, [r0], #4\n" \
            "ldr r11, [r1], #4\n" \
            SCENELET_ADD_ONE("", 0, SCENELET_ADD_##scales) \
            SCENELET_ADD_ONE(", ror #8", 8, SCENELET_ADD_##scales) \
            SCENELET_ADD_ONE(", ror #16", 16, SCENELET_ADD_##scales) \
            SCENELET_ADD_ONE(", ror #24", 24, SCENELET_ADD_##scales) \
            "ldm sp, {r11, r12}\n" \
            "str r10, [r11], #4\n" \
            "str r11, [sp]\n" \
            "cmp r0, r12\n" \
            "bne 1b\n" \
            "add sp, sp, #8\n" \
            "pop {r4-r11, pc}\n"); \
    }

#else

#define SCENELET_DEFINE_PAIRS(bits, times, rounding)
#define SCENELET_PAIRS(bits, times, rounding) 0
#define SCENELET_DEFINE_FOUR(channels, stride, rounding)
#define SCENELET_FOUR(channels, stride, rounding) 0

#endif
#endif

/* Whether there is assembly for the processor: SCENELET_DSP, of the DSP extension (Cortex-M4, M7, M33). Elsewhere the same
 * is computed in C: by other processors, by compilers without GNU's assembly, where register 9 has a meaning of its own
 * (-frwpi), and where words must lie at multiples of their size (-mno-unaligned-access, which clang does not tell). */
#ifndef SCENELET_DSP_H
#define SCENELET_DSP_H

#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE)
#if __ARM_ARCH_PROFILE == 'M' && !defined(__ARM_BIG_ENDIAN) && !defined(__ARM_RWPI)
#if defined(__ARM_FEATURE_UNALIGNED) || defined(__clang__)
#define SCENELET_DSP
#endif
#endif
#endif

#endif

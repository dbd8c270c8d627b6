/* The powers of the bins of a real signal. See scenelet_spectrum.c. */
#ifndef SCENELET_SPECTRUM_H
#define SCENELET_SPECTRUM_H

#include <stdint.h>

/* From SCENELET_FFT values of at most 29 bits, shifted left by `shift`, which stand in pairs in the order of their
 * places' reversed bits, to the powers of bins 1 to SCENELET_FFT / 2 - 1, two words each, the low one first. */
void scenelet_spectrum(int32_t *z, uint32_t shift);

#endif

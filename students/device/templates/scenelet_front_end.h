/* The log-mel of a clip in integers, frame by frame while its samples come in. See scenelet_front_end.c. */
#ifndef SCENELET_FRONT_END_H
#define SCENELET_FRONT_END_H

#include <stdint.h>

#include "scenelet_front_end_tables.h"

typedef struct {
    int16_t ring[SCENELET_RING];             /* the latest samples */
    int32_t spectrum[SCENELET_FFT];          /* real and imaginary parts in turn */
    uint64_t bands[SCENELET_MELS];
    uint32_t samples;                        /* of the clip that have come so far */
    uint32_t frames;                         /* of the clip that are computed */
} scenelet_front_end;

/* Begin a clip. */
void scenelet_front_end_begin(scenelet_front_end *state);

/* Take up to `count` samples of the clip and compute the frames that they complete. A frame's values are
 * log2(mel + 1e-5) with 16 bits behind the point; value `mel` of frame `frame` goes to
 * values[mel * SCENELET_FRAMES + frame]. Returns how many samples were taken: fewer than `count` if the clip is whole. */
uint32_t scenelet_front_end_push(scenelet_front_end *state, const int16_t *samples, uint32_t count, int32_t *values);

#endif

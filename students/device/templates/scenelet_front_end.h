/* The log-mel of a clip as the integers that a network takes, frame by frame while its samples come in. See
 * scenelet_front_end.c. */
#ifndef SCENELET_FRONT_END_H
#define SCENELET_FRONT_END_H

#include <stdint.h>

#include "scenelet_front_end_tables.h"

/* What must stay as it is from one push to the next. */
typedef struct {
    int16_t ring[SCENELET_RING];             /* the latest samples */
    uint32_t samples;                        /* of the clip that have come so far */
    uint32_t frames;                         /* of the clip that are computed */
} scenelet_front_end;

/* What a push works in; nothing of it is kept for the next one. */
typedef struct {
    int32_t spectrum[SCENELET_FFT];          /* real and imaginary parts in turn */
} scenelet_front_end_scratch;

/* Begin a clip. */
void scenelet_front_end_begin(scenelet_front_end *state);

/* Take up to `count` samples of the clip and compute the frames that they complete. The integer of band `mel` in frame
 * `frame` goes to map[SCENELET_MAP_FIRST + mel * SCENELET_MAP_ROW + frame]. Returns how many samples were taken: fewer
 * than `count` if the clip is whole. */
uint32_t scenelet_front_end_push(scenelet_front_end *state, scenelet_front_end_scratch *scratch,
                                 const int16_t *samples, uint32_t count, int8_t *map);

#endif

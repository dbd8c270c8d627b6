/* Calibrated probabilities in integers: equal in every bit to students/quantize/answer.py, which explains them. */
#include "scenelet_answer.h"

int32_t scenelet_probabilities(const int8_t *logits, uint16_t *probabilities)
{
    int32_t scene, best = 0;
    uint32_t sum = 0;
    for (scene = 1; scene < SCENELET_CLASSES; scene++) {
        if (logits[scene] > logits[best]) {
            best = scene;
        }
    }
    for (scene = 0; scene < SCENELET_CLASSES; scene++) {
        sum += scenelet_exponentials[logits[best] - logits[scene]];
    }
    for (scene = 0; scene < SCENELET_CLASSES; scene++) {
        uint32_t part = scenelet_exponentials[logits[best] - logits[scene]];
        probabilities[scene] = (uint16_t)((part * SCENELET_ONE + sum / 2) / sum);
    }
    return best;
}

int32_t scenelet_known(int32_t scene, const uint16_t *probabilities)
{
    return probabilities[scene] < scenelet_threshold ? SCENELET_UNKNOWN : scene;
}

void scenelet_average_begin(scenelet_average *average, uint32_t shift)
{
    average->shift = shift < SCENELET_MOST_SMOOTH ? shift : SCENELET_MOST_SMOOTH;
    average->begun = 0;
}

int32_t scenelet_average_add(scenelet_average *average, uint16_t *probabilities)
{
    int32_t scene, best = 0;
    for (scene = 0; scene < SCENELET_CLASSES; scene++) {
        uint32_t *sum = average->sums + scene, latest = probabilities[scene];
        *sum = average->begun ? *sum - (*sum >> average->shift) + latest : latest << average->shift;
        probabilities[scene] = (uint16_t)(*sum >> average->shift);
        if (probabilities[scene] > probabilities[best]) {
            best = scene;
        }
    }
    average->begun = 1;
    return best;
}

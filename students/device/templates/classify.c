/* Reads samples from the standard input, 16 bits, little-endian, mono, and writes for each whole clip the scene, its
 * probability, and all logits. For example:
 *     ffmpeg -i sound.wav -f s16le -ac 1 -ar RATE - | ./classify        RATE: SCENELET_SAMPLE_RATE of src/scenelet_tables.h
 */
#include <stdio.h>

#include "scenelet.h"

static scenelet state;

int main(void)
{
    uint8_t bytes[2];
    int32_t i;
    scenelet_init(&state, 0);
    while (fread(bytes, 1, 2, stdin) == 2) {
        int32_t value = bytes[0] | bytes[1] << 8;
        int16_t sample = (int16_t)(value < 32768 ? value : value - 65536);
        scenelet_push(&state, &sample, 1);
        if (scenelet_is_complete(&state)) {
            scenelet_answer answer;
            int32_t scene = scenelet_classify(&state, &answer);
            unsigned percent = (answer.probabilities[answer.scene] * 100u + SCENELET_ONE / 2) / SCENELET_ONE;
            printf("%s %u%%", scene < 0 ? "unknown" : scenelet_scenes[scene], percent);
            for (i = 0; i < SCENELET_CLASSES; i++) {
                printf(" %d", answer.logits[i]);
            }
            printf("\n");
        }
    }
    return 0;
}

/* Answers to one clip after the other over the serial line. Where samples come from is for the board to say. */
#include <scenelet.h>

static scenelet state;
static scenelet_answer answer;

/* Up to `most` new samples of the microphone, 16 bits, mono, SCENELET_SAMPLE_RATE a second; returns how many. */
static uint32_t read_microphone(int16_t *samples, uint32_t most)
{
    (void)samples;
    (void)most;
    return 0; /* take what the driver of your microphone has received, I2S or PDM */
}

void setup()
{
    Serial.begin(115200);
    scenelet_init(&state, 1);
}

void loop()
{
    static int16_t samples[256];
    uint32_t count = read_microphone(samples, 256), taken = 0;
    while (taken < count) {
        taken += scenelet_push(&state, samples + taken, count - taken);
        if (scenelet_is_complete(&state)) {
            int32_t scene = scenelet_classify(&state, &answer);
            Serial.println(scene < 0 ? "unknown" : scenelet_scenes[scene]);
        }
    }
}

/* Scores of tokens. */
#include "functions.h"

int native_token_scores(call *self) {
    static const array_argument logits_argument = {"logits", FLOATING, "(batch, classes, pixels)"},
                                uniforms_argument = {"uniforms", "float64", "(batch, pixels)"},
                                token_argument = {"token", "int64", "(batch, pixels)"};
    static const array_argument number_arguments[4] = {
        {"probability", RESULT, "(batch, pixels)"},
        {"entropy", RESULT, "(batch, pixels)"},
        {"margin", RESULT, "(batch, pixels)"},
        {"logsumexp", RESULT, "(batch, pixels)"},
    };
    double temperature;
    vqd_tensor logits, uniforms, token, numbers[4];
    const vqd_tensor *given;
    if (!take_input(self, &logits_argument, &logits)
        || !take_optional_input(self, &uniforms_argument, &uniforms, &given)
        || !take_double(self, "temperature", &temperature)
        || !take_output(self, &token_argument, &token))
        return RAISED;
    for (int i = 0; i < 4; i++)
        if (!take_output(self, &number_arguments[i], &numbers[i]))
            return RAISED;
    if (!take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_token_scores(&logits, given, temperature, &token, &numbers[0],
                                        &numbers[1], &numbers[2], &numbers[3], &self->context));
}

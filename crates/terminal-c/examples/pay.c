/*
 * A register's part of a payment: verify the payer at the terminal, print the payment code. Charging it with an amount
 * is the register's business with the payment server (docs/payments.md), not with the terminal.
 *
 *     cc -o pay pay.c -I ../include -L ../../../target/debug -lselfsame_terminal
 *     ./pay unix:/srv/canteen/run/terminal.sock T4-000123-1 0142
 *     ./pay http://127.0.0.1:8701 T4-000123-1 0142 terminal.token
 *     ./pay https://till-1.local:8702 T4-000123-1 0142 terminal.token authority.pem
 *
 * Prints the 18 digits, or why there are none on standard error. Ends with the number that the library answered.
 * The strings on the command line go into JSON as they are; a real program writes JSON, and reads it, with a library.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selfsame_terminal.h"

/* Makes a call; the answer is printed if it is not `ok`. Release it. */
static int call(const char *request, char **response)
{
    size_t length;
    int ended = selfsame_terminal_call(request, strlen(request), response, &length);
    if (ended != SELFSAME_TERMINAL_OK) {
        fprintf(stderr, "%.*s\n", (int)length, *response == NULL ? "" : *response);
    }
    return ended;
}

int main(int argc, char **argv)
{
    char where[512];
    char request[1024];
    char *response;
    const char *digits;
    int ended;

    if (argc < 4 || argc > 6) {
        fprintf(stderr, "usage: %s ADDRESS REQUEST_ID LAST_FOUR_DIGITS_OF_PHONE [TOKEN_FILE [AUTHORITY_FILE]]\n", argv[0]);
        return 64;
    }
    if (argc == 6) {
        snprintf(where, sizeof where, "\"address\":\"%s\",\"token_file\":\"%s\",\"ca_file\":\"%s\"", argv[1], argv[4],
                 argv[5]);
    } else if (argc == 5) {
        snprintf(where, sizeof where, "\"address\":\"%s\",\"token_file\":\"%s\"", argv[1], argv[4]);
    } else {
        snprintf(where, sizeof where, "\"address\":\"%s\"", argv[1]);
    }

    /* Is somebody there? */
    snprintf(request, sizeof request, "{\"call\":\"terminal\",%s}", where);
    ended = call(request, &response);
    selfsame_terminal_release(response);
    if (ended != SELFSAME_TERMINAL_OK) {
        return ended;
    }

    /* Waits until the payer is verified, or is not, or the time is over. */
    snprintf(request, sizeof request,
             "{\"call\":\"verify\",%s,\"request_id\":\"%s\",\"modality\":\"finger\","
             "\"identifier\":{\"kind\":\"phone_last4\",\"value\":\"%s\"},\"deadline_ms\":60000}",
             where, argv[2], argv[3]);
    ended = call(request, &response);
    if (ended == SELFSAME_TERMINAL_OK) {
        digits = strstr(response, "\"digits\":\"");
        if (digits == NULL) {
            ended = EXIT_FAILURE;
        } else {
            printf("%.18s\n", digits + strlen("\"digits\":\""));
        }
    }
    selfsame_terminal_release(response);
    return ended;
}

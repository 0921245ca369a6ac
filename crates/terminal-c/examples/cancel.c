/*
 * A cashier who changes their mind: one thread waits for the payer, another one cancels by the register's own reference
 * as soon as a line comes on standard input.
 *
 *     cc -o cancel cancel.c -I ../include -L ../../../target/debug -lselfsame_terminal -lpthread
 *     ./cancel unix:/srv/canteen/run/terminal.sock T4-000124-1
 *
 * Prints both answers. Ends with 0 if the cancel was done.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "selfsame_terminal.h"

static char verify[1024];

static void *wait_for_payer(void *unused)
{
    char *response;
    size_t length;
    int ended = selfsame_terminal_call(verify, strlen(verify), &response, &length);

    (void)unused;
    printf("verify %d %s\n", ended, response == NULL ? "" : response);
    selfsame_terminal_release(response);
    return NULL;
}

int main(int argc, char **argv)
{
    char cancel[1024];
    char line[16];
    char *response;
    size_t length;
    pthread_t waiting;
    int ended;

    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDRESS REQUEST_ID\n", argv[0]);
        return 64;
    }
    snprintf(verify, sizeof verify,
             "{\"call\":\"verify\",\"address\":\"%s\",\"request_id\":\"%s\",\"modality\":\"finger\","
             "\"identifier\":{\"kind\":\"phone_last4\",\"value\":\"0142\"}}",
             argv[1], argv[2]);
    snprintf(cancel, sizeof cancel, "{\"call\":\"cancel\",\"address\":\"%s\",\"request_id\":\"%s\"}", argv[1], argv[2]);

    if (pthread_create(&waiting, NULL, wait_for_payer, NULL) != 0) {
        return 71;
    }
    (void)fgets(line, sizeof line, stdin);
    ended = selfsame_terminal_call(cancel, strlen(cancel), &response, &length);
    pthread_join(waiting, NULL);
    printf("cancel %d %s\n", ended, response == NULL ? "" : response);
    selfsame_terminal_release(response);
    return ended;
}

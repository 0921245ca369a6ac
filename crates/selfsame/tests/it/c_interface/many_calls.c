/* Makes so many calls from each of four threads; prints how many ended with which number. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selfsame_terminal.h"

static char request[1024];
static int calls;

static void *make_calls(void *counts)
{
    int *ended = counts;
    int call;
    for (call = 0; call < calls; call++) {
        char *response;
        size_t length;
        int number = selfsame_terminal_call(request, strlen(request), &response, &length);
        if (response == NULL || strlen(response) != length || number < 0 || number > 5) {
            exit(70);
        }
        ended[number]++;
        selfsame_terminal_release(response);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int ended[4][6] = { { 0 } };
    pthread_t threads[4];
    int thread;
    int number;

    if (argc != 3) {
        return 64;
    }
    snprintf(request, sizeof request, "{\"call\":\"handover\",\"address\":\"%s\",\"session\":\"ses_1\"}", argv[1]);
    calls = atoi(argv[2]);
    for (thread = 0; thread < 4; thread++) {
        if (pthread_create(&threads[thread], NULL, make_calls, ended[thread]) != 0) {
            return 71;
        }
    }
    for (thread = 0; thread < 4; thread++) {
        pthread_join(threads[thread], NULL);
    }
    for (number = 0; number < 6; number++) {
        printf("%d ", ended[0][number] + ended[1][number] + ended[2][number] + ended[3][number]);
    }
    printf("\n");
    return 0;
}

/*
 * One call, to try things out: the request comes on standard input, the answer goes to standard output.
 *
 *     cc -o call call.c -I ../include -L ../../../target/debug -lselfsame_terminal
 *     echo '{"call":"terminal","address":"unix:/srv/canteen/run/terminal.sock"}' | ./call
 *
 * Ends with the number that the library answered.
 */
#include <stdio.h>

#include "selfsame_terminal.h"

int main(void)
{
    static char request[65536];
    size_t request_length = fread(request, 1, sizeof request, stdin);
    char *response;
    size_t response_length;
    int ended = selfsame_terminal_call(request, request_length, &response, &response_length);

    printf("%s\n", response == NULL ? "" : response);
    selfsame_terminal_release(response);
    return ended;
}

/*
 * libselfsame_terminal: verify a payer at a Selfsame terminal and get the payment code, from C and from anything that
 * calls C. Two functions; JSON (UTF-8) goes in and comes out.
 *
 *     static const char request[] =
 *         "{\"call\":\"verify\",\"address\":\"unix:/srv/canteen/run/terminal.sock\","
 *         "\"request_id\":\"T4-000123-1\",\"modality\":\"finger\","
 *         "\"identifier\":{\"kind\":\"phone_last4\",\"value\":\"0142\"}}";
 *     char *response;
 *     size_t response_length;
 *     int ended = selfsame_terminal_call(request, sizeof request - 1, &response, &response_length);
 *     if (ended == SELFSAME_TERMINAL_OK) { ... session.handover.digits: charge this code at the payment server ... }
 *     selfsame_terminal_release(response);
 *
 * A whole program is in examples/pay.c. Link with -lselfsame_terminal, or with libselfsame_terminal.a and
 * -lpthread -ldl -lm.
 *
 *
 * REQUEST: one object, 65,536 bytes at most.
 *
 *   call        what to do, see below
 *   address     where the terminal is: "unix:/path/of/terminal.sock" (not on Windows), or "http://127.0.0.1:8701" for a
 *               loopback port; or "https://till-2.local:8702" for a terminal on another machine, if the library was
 *               built with the feature `tls`
 *   ca_file     with https: the path of the site's `authority.pem`. No other authority is trusted; TLS 1.3
 *   token       the key to a port, which `complete_pairing` answered, or
 *   token_file  the path of a file that holds it; a Unix socket needs none, its file mode decides
 *
 * All other fields belong to the call. Fields of a body are those of the terminal's own interface
 * (docs/interface.md) and go through as they are. There is no amount in any of them.
 *
 *   call        further fields                  answer has   does
 *   ----------  ------------------------------  -----------  -------------------------------------------------------
 *   terminal    none                            terminal     tells whether a payer would be taken now
 *   pair        name                            pairing      asks to be let in at a port, once for a register; the
 *                                                            terminal shows a code (docs/reach.md)
 *   complete_   pairing (its id), code          paired       the code from the terminal's screen; the answer has the
 *     pairing                                                token
 *   prepare     none                            prepared     tells the terminal that a payer comes soon: a camera that
 *                                                            is cold is opened for 30 seconds
 *   verify      body of a new verification:     session      starts a verification and waits until it is over; `ok`
 *               request_id, modality,                        means passed, with the code in session.handover.digits
 *               identifier, deadline_ms,                     unless `handover` said another way. Without `handover` it
 *               handover                                     is {"register":"return","mode":"immediate"}.
 *   start       the same                        session      starts only; `handover` as the terminal has it (on request)
 *   status      session, after, wait_ms         session      tells where it stands: at once, or as soon as its
 *                                                            `sequence` is above `after`, or after `wait_ms` (25,000
 *                                                            at most)
 *   handover    session, register,              session      asks for a code, and the one before it is dead; or sends
 *               lifetime_seconds, resend                     the same one again. `ok` means that it went out
 *   cancel      session or request_id, reason   session      ends it, frees the reader, and revokes its code. With
 *                                                            `request_id`: the `verify` that another thread of this
 *                                                            process waits in. `reason` is "cashier" unless given.
 *
 * `request_id` is your own name of the request (1 to 64 characters). The same again with the same content is the same
 * verification, so after an answer that was lost, or a crash of your program, make the same call again.
 *
 *
 * RESPONSE: one object with a stable `code`, followed by a zero byte that `response_length` does not count.
 *
 *   {"code":"ok","session":{...}}                        done
 *   {"code":"declined","session":{...}}                  `verify` ended otherwise: declined, canceled, timed_out, failed
 *                                                        (see session.error), unknown; or the payer passed and the code
 *                                                        is not there: code_issue_failed, register_missing,
 *                                                        handover_uncertain, ...: then call `handover`
 *   {"code":"busy","problem":{...}}                      the terminal refused: the code of its problem document
 *   {"code":"terminal_unreachable","detail":"..."}       the library: invalid_request, terminal_unreachable, no_answer,
 *                                                        answer_malformed, too_many_calls, not_running, internal
 *
 * New fields and new codes may come; ignore what you do not know, and go by the number that is returned.
 *
 *
 * TIME: calls block. `terminal`, `prepare`, `start`, `handover` and `cancel` take 10 seconds at most, `status` its
 * `wait_ms` more, `verify` its `deadline_ms` (60,000 unless given, 180,000 at most), 10 seconds, and one more call. Keep
 * them off the thread that draws your windows. With https the system's look-up of a name comes on top.
 *
 * THREADS: every function may be called from any number of threads at the same time; nothing needs to be set up or
 * ended. At most 64 `verify` wait at the same time. A response belongs to whoever called, and may be released by another
 * thread. The library makes no threads, installs no signal handlers, and raises no SIGPIPE.
 *
 * SECRETS: a response may hold a payment code. It is wiped when it is released. The library writes nothing to any file.
 */
#ifndef SELFSAME_TERMINAL_H
#define SELFSAME_TERMINAL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Done; `code` is "ok". */
#define SELFSAME_TERMINAL_OK 0
/* Not done, or not all of it; `code` says why. */
#define SELFSAME_TERMINAL_NOT_DONE 1
/* Nothing reached the terminal. */
#define SELFSAME_TERMINAL_UNREACHABLE 2
/* The terminal may or may not have done it: make the same call again. */
#define SELFSAME_TERMINAL_UNCERTAIN 3
/* The request does not have the documented form; nothing was sent. */
#define SELFSAME_TERMINAL_INVALID_REQUEST 4
/* A defect of the library. */
#define SELFSAME_TERMINAL_DEFECT 5

/*
 * Makes one call and answers one of the numbers above.
 *
 * request          JSON, need not end in a zero byte
 * request_length   its length in bytes
 * response         where the address of the answer goes: to be given back to selfsame_terminal_release, whatever number
 *                  is returned. Read it only: do not write into it.
 * response_length  where its length goes
 *
 * If `response` or `response_length` is null, nothing is done, and INVALID_REQUEST answered without a response. A null
 * `request` is answered with a response.
 */
int selfsame_terminal_call(const char *request, size_t request_length, char **response, size_t *response_length);

/* Wipes a response and gives its memory back, once. A null pointer is taken and nothing done. */
void selfsame_terminal_release(char *response);

#ifdef __cplusplus
}
#endif

#endif

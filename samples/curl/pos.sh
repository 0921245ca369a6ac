#!/bin/sh
# A cash register as curl lines: verifies a payer at a terminal and prints the payment code's last four digits.
#
#   pos.sh pair TERMINAL NAME            asks for the code on the terminal's screen, prints the token
#   pos.sh verify TERMINAL REQUEST_ID    verifies a payer (TOKEN in the environment), hands the code over
#
# TERMINAL is https://NAME:8702 (with AUTHORITY=authority.pem in the environment), http://127.0.0.1:8701, or, on the
# terminal's own machine, http://localhost with SOCKET=SITE/run/terminal.sock, where no token is needed.
# LAST4 are the last four digits of the payer's phone number; without them the terminal asks.
set -eu

call() {
    method=$1 path=$2
    shift 2
    # The token comes by a file that curl reads from standard input: arguments show in lists of processes.
    {
        [ -z "${TOKEN:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$TOKEN"
    } | curl --silent --show-error --fail-with-body --max-time 40 --config - \
        ${AUTHORITY:+--cacert "$AUTHORITY"} ${SOCKET:+--unix-socket "$SOCKET"} \
        --request "$method" --header "Content-Type: application/json" "$@" "$TERMINAL$path"
}

# The value of a text field of flat JSON; a register has a JSON library for that.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

command=${1:?pair or verify} TERMINAL=${2:?where the terminal is}
case $command in
pair)
    pairing=$(call POST /v1/pairings --data "{\"name\": \"${3:?a name}\"}" | field id)
    printf 'Code on the terminal'\''s screen: ' >&2
    read -r code
    call POST "/v1/pairings/$pairing/complete" --data "{\"code\": \"$code\"}" | field token
    ;;
verify)
    identifier=${LAST4:+, \"identifier\": {\"kind\": \"phone_last4\", \"value\": \"$LAST4\"\}}
    request="{\"request_id\": \"${3:?a reference}\", \"modality\": \"${MODALITY:-finger}\"$identifier}"
    session=$(call POST /v1/verifications --data "$request")
    id=$(printf '%s' "$session" | field id)
    while [ "$(printf '%s' "$session" | field state)" != done ]; do
        sequence=$(printf '%s' "$session" | sed -n 's/.*"sequence":\([0-9]*\).*/\1/p')
        printf '%s' "$session" | field state >&2
        session=$(call GET "/v1/verifications/$id?after=$sequence&wait_ms=25000")
    done
    outcome=$(printf '%s' "$session" | field outcome)
    [ "$outcome" = passed ] || { echo "$outcome"; exit 1; }
    digits=$(call POST "/v1/verifications/$id/handover" --data '{"register": "return"}' | field digits)
    # Here a register charges the digits at the payment server; they are as good as money, so only the end is shown.
    echo "passed, code ..${digits#??????????????}"
    ;;
*)
    echo "pair or verify" >&2
    exit 2
    ;;
esac

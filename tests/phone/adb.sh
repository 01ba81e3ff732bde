#!/bin/sh
# A stand-in for adb and a phone: it writes what it is asked into $ASKED, and answers as a Pixel 8a does.
# PHONES: what `adb devices` lists. STATE: what the phone says. FAILING: flags with which benchmark_model fails.
echo "$*" >>"$ASKED"
case "$*" in
devices) printf 'List of devices attached\n%b' "${PHONES-38281JEKB12345\\tdevice\\n}" ;;
get-state)
    [ -z "${STATE:-}" ] || { echo "error: $STATE" >&2; exit 1; }
    echo device
    ;;
"shell getprop ro.product.model") printf 'Pixel 8a\r\n' ;;
"shell getprop ro.product.manufacturer") echo Google ;;
"shell getprop ro.soc.manufacturer") echo Google ;;
"shell getprop ro.soc.model") echo 'Tensor G3' ;;
"shell getprop ro.build.version.release") echo 16 ;;
"shell getprop ro.product.cpu.abi") echo arm64-v8a ;;
shell\ cd*)
    if [ -n "${FAILING:-}" ] && echo "$*" | grep -q -e "$FAILING"; then
        echo 'ERROR: Failed to compile model.' >&2
        exit 1
    fi
    cat "$LOG"
    ;;
esac

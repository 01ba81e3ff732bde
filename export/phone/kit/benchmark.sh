#!/bin/sh
# Times the files of models/ on the phone that adb reaches, with LiteRT's benchmark_model: on the CPU, on the GPU, and on
# the NPU where its libraries are given. Each run leaves a log in results/.
#
#   sh benchmark.sh [BENCHMARK_MODEL]
#
# BENCHMARK_MODEL is the program for android_arm64, ./benchmark_model unless given; its page has the download:
#   https://ai.google.dev/edge/litert/next/benchmark
# RUNS=100            images to time, after a tenth of them to warm up
# NPU_LIBRARIES=DIR   LiteRT's dispatch library and compiler plugin for the phone's chip, and the vendor's libraries:
#   https://ai.google.dev/edge/litert/next/npu
# ANDROID_SERIAL=...  the phone, where adb sees several
set -eu
here=$(pwd)
cd "$(dirname "$0")"
program=./benchmark_model
runs=${RUNS:-100}
there=/data/local/tmp/keras_inception

fail() {
    echo "error: $1" >&2
    exit 1
}

# Where a path leads from the folder in which the script was called.
from_here() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$here/$1" ;;
    esac
}

on_phone() {
    adb shell "$@" </dev/null | tr -d '\r'
}

[ -z "${1:-}" ] || program=$(from_here "$1")
[ -z "${NPU_LIBRARIES:-}" ] || NPU_LIBRARIES=$(from_here "$NPU_LIBRARIES")
command -v adb >/dev/null || fail "adb is not installed: install Android's platform tools, which have it"
[ -f "$program" ] || fail "$program is not there: download LiteRT's benchmark_model for android_arm64, and give its path"
case $runs in
'' | 0* | *[!0-9]*) fail "RUNS is how many images to time, 1 or more; got '$runs'" ;;
esac
[ -z "${NPU_LIBRARIES:-}" ] || [ -d "$NPU_LIBRARIES" ] || fail "NPU_LIBRARIES=$NPU_LIBRARIES is not a folder"
if [ -z "${ANDROID_SERIAL:-}" ]; then
    phones=$(adb devices | tr -d '\r' | sed 1d | grep -c '[^[:space:]]') || true
    [ "$phones" -gt 0 ] || fail "adb sees no phone: connect one, and allow USB debugging in its developer options"
    [ "$phones" -eq 1 ] || fail "adb sees $phones phones: set ANDROID_SERIAL to one of those that 'adb devices' lists"
fi
state=$(adb get-state 2>&1) ||
    fail "the phone does not answer ($(echo "$state" | head -n 1)): unlock it, and allow debugging by this computer"

model=$(on_phone getprop ro.product.model)
maker=$(on_phone getprop ro.product.manufacturer)
chip="$(on_phone getprop ro.soc.manufacturer) $(on_phone getprop ro.soc.model)" # Android 12 and later
[ "$chip" != " " ] || chip=$(on_phone getprop ro.board.platform)
android=$(on_phone getprop ro.build.version.release)
abi=$(on_phone getprop ro.product.cpu.abi)
[ "$abi" = arm64-v8a ] || echo "note: the phone is $abi; the program must be made for it" >&2
results=results/$(printf '%s' "$maker $model" | tr -c 'A-Za-z0-9._-' _)
mkdir -p "$results"
echo "$maker $model, $chip, Android $android"

on_phone mkdir -p "$there"
push() {
    adb push "$1" "$2" >/dev/null </dev/null || fail "$1 could not be copied to the phone"
}
push "$program" "$there/benchmark_model"
on_phone chmod 755 "$there/benchmark_model"
for file in models/*.tflite; do
    push "$file" "$there/"
done

timed=0
# time_file FILE ACCELERATOR THREADS FLAG...
time_file() {
    file=$1 accelerator=$2 threads=$3
    shift 3
    log=$results/${file%.tflite}-$accelerator$threads.log
    {
        echo "# device: $maker $model"
        echo "# chip: $chip"
        echo "# android: $android"
        echo "# date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
        echo "# file: $file"
        echo "# accelerator: $accelerator"
        echo "# threads: $threads"
        echo "# flags: $*"
    } >"$log.part"
    status=0
    adb shell "cd $there && LD_LIBRARY_PATH=$there ADSP_LIBRARY_PATH=$there ./benchmark_model --graph=$there/$file" \
        "--num_threads=${threads:-4} --num_runs=$runs --warmup_runs=$(((runs + 9) / 10)) $*" \
        </dev/null >>"$log.part" 2>&1 || status=$?
    echo "# exit: $status" >>"$log.part"
    mv "$log.part" "$log"
    if [ "$status" -eq 0 ]; then
        timed=$((timed + 1))
        echo "timed $file on the $accelerator: $log"
    else
        echo "failed: $file on the $accelerator: $log says why" >&2
    fi
}

time_file int8.tflite cpu 1
time_file int8.tflite cpu 4
time_file float16.tflite cpu 4
time_file float16.tflite gpu '' --use_gpu=true
if [ -n "${NPU_LIBRARIES:-}" ]; then
    push "$NPU_LIBRARIES/." "$there/"
    time_file int8.tflite npu '' \
        --use_npu=true "--dispatch_library_path=$there" "--compiler_plugin_library_path=$there"
else
    echo "not on the NPU: NPU_LIBRARIES is not set (README.md)"
fi
[ "$timed" -gt 0 ] || fail "no file could be timed: is $program made for this phone's $abi?"
echo "the table: keras-inception benchmark $(pwd)"

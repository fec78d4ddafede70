#!/bin/bash
# Everything that has to be seen on a real device, without Node but for the last stage: builds, tests, sanitizers, benches. Each stage runs
# alone and its result is written down, whatever became of the others; a tool that the machine does not let run is `refused`.
#   tests/gpu/run.sh [--out DIRECTORY] [--python PYTHON] [--build DIRECTORY] [STAGE...]
# Stages: build loss optim head loss-memcheck loss-racecheck loss-initcheck loss-synccheck optim-memcheck optim-racecheck bench peers node
# ECHO_GRPO_GPU_ARCHITECTURE: what to compile for, such as 90; the device's own when it is not set. Without a device all but the build is skipped.
# Exits 0 when no stage failed.
set -u
cd "$(dirname "$0")/../.."
out=gpu-results python=python3 build=build-gpu stages=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    -*) sed -n "2,/^set/p" "$0" | grep "^#"; exit 2 ;;
    *) stages+=("$1"); shift ;;
  esac
done
[ ${#stages[@]} -gt 0 ] || stages=(build loss optim head loss-memcheck loss-racecheck loss-initcheck loss-synccheck optim-memcheck optim-racecheck bench peers node)
has_gpu() { nvidia-smi -L > /dev/null 2>&1 || compgen -G "/dev/nvidia[0-9]*" > /dev/null || [ -e /dev/dxg ]; }
has_gpu && gpu=yes || gpu=no
architecture=${ECHO_GRPO_GPU_ARCHITECTURE:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -1 | tr -d .)}
[[ $architecture =~ ^[0-9]+$ ]] || architecture=90
library=$build/out/libecho_grpo_cuda.so
mkdir -p "$out"
echo "$(date -u +%F) ${ECHO_GRPO_COMMIT:-$(git rev-parse --short HEAD 2> /dev/null || echo unknown)}" > "$out/run.txt"
failed=0

record() { # name result seconds
  printf '{"stage": "%s", "result": "%s", "seconds": %s}\n' "$1" "$2" "$3" >> "$out/stages.jsonl"
  printf '%-16s %s (%s s)\n' "$1" "$2" "$3"
}

run() { # name command...
  local name=$1 begin=$SECONDS status result; shift
  if [ "$gpu" = no ] && [ "$name" != build ]; then
    missing "$name (there is no GPU on this machine)" | tee "$out/$name.log"
    record "$name" skipped 0
    return
  fi
  "$@" > "$out/$name.log" 2>&1
  status=$?
  if [ $status -eq 0 ]; then result=passed
  elif [ $status -eq 77 ]; then result=skipped
  elif grep -qiE "ERR_NVGPUCTRPERM|insufficient permissions|not supported on|unable to (attach|initialize)|debugger.*(denied|in use)" "$out/$name.log"; then result=refused
  else result=failed; failed=1; tail -15 "$out/$name.log"
  fi
  record "$name" "$result" $((SECONDS - begin))
}

missing() { echo "NOT VERIFIED: $1"; return 77; }

build() {
  command -v nvcc > /dev/null || { echo "nvcc is not on this machine"; return 1; }
  cmake -S . -B "$build" -DECHO_CUDA=ON -DECHO_CUDA_ARCHITECTURES="$architecture" -DECHO_CUDA_TEST_ARCHITECTURE="$architecture" -DECHO_CUDA_OUTPUT="$PWD/$build/out" && cmake --build "$build" -j"$(nproc)" --target gpu_tests echo_grpo_cuda
}

sanitize() { # tool program
  command -v compute-sanitizer > /dev/null || { missing "$1 (compute-sanitizer is not on this machine)"; return 77; }
  compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 "$build/$2" --brief
}

peers() {
  "$python" -c "import torch; assert torch.cuda.is_available()" 2> /dev/null || { missing "peers (no Python with torch for CUDA)"; return 77; }
  "$python" bench/cuda/peers.py --library "$library" --out "$out/peers.json"
}

node_tests() {
  command -v node > /dev/null || { missing "the calls from JavaScript (Node is not on this machine)"; return 77; }
  # Those that do not ask for an emulated device by its settings.
  ECHO_GRPO_TEST_TIER=all ECHO_GRPO_CUDA_LIBRARY="$(realpath "$library")" npx vitest run $(grep -l useEmulated tests/cuda/*.test.ts)
}

bench() { # one of them may fail without the other; what it had printed until then is no result
  local name bad=0
  for name in loss optim; do
    rm -f "$out/$name.json"
    "$build/${name}_bench" > "$out/$name.part"
    if [ $? -eq 0 ]; then cp "$out/$name.part" "$out/$name.json"; else bad=1; fi
    cat "$out/$name.part"
    rm "$out/$name.part"
  done
  return $bad
}

command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit,ecc.mode.current,mig.mode.current --format=csv > "$out/device.csv" 2>&1
for stage in "${stages[@]}"; do
  case $stage in
    build) run build build ;;
    loss | optim | head) run "$stage" "$build/${stage}_device_test" ;;
    *-memcheck | *-racecheck | *-initcheck | *-synccheck) run "$stage" sanitize "${stage#*-}" "${stage%%-*}_device_test" ;;
    bench) run bench bench ;;
    peers) run peers peers ;;
    node) run node node_tests ;;
    *) echo "there is no stage $stage"; exit 2 ;;
  esac
done
exit $failed

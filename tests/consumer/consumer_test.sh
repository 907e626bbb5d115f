#!/usr/bin/env bash
# Installs a build into an empty directory, then configures, builds and runs the project beside this script against it.
#   consumer_test.sh BUILD SOURCE CXX TORCH ROOM...
# TORCH is the directory of LibTorch's package that the build found, empty for a build without it.
set -euo pipefail
build=$1 source=$2 cxx=$3 torch=$4
shift 4
work=$build/consumer
rm -rf "$work"
cmake --install "$build" --prefix "$work/prefix" >/dev/null
rooms=$(IFS=';' && echo "$*")
cmake -G Ninja -S "$source/tests/consumer" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DROOMS="$rooms" ${torch:+-DTorch_DIR="$torch"} >/dev/null
cmake --build "$work/build"
"$work/build/consumer" "$source/data/bert-base-uncased-vocab.txt" "$work/y.safetensors"
for room in "$@"; do
  "$work/build/rooms/all_of_$room" || { echo "a program with all of $room does not start"; exit 1; }
done
if [ -x "$work/build/rooms/trains" ]; then "$work/build/rooms/trains"; fi
"$work/prefix/bin/qdqbert" --help >/dev/null
if [ -n "$torch" ]; then
  "$work/prefix/bin/qdqbert" qa --model_name_or_path "$source/models/minilm-l6-squad-qat" --save_onnx --output_dir "$work/exported" \
    >"$work/export.log" 2>&1 || { cat "$work/export.log"; exit 1; }
  "$work/build/rooms/answers" "$work/exported" "Who was Jim Henson?" "Jim Henson was a nice puppet." | grep -x "a nice puppet"
fi
if grep -rlF -e "$source" -e "$build" "$work/prefix/lib/cmake" "$work/prefix"/lib/*/cmake 2>/dev/null; then
  echo "the installed package names the directory that it was built in"
  exit 1
fi

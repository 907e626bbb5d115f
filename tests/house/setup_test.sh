#!/usr/bin/env bash
# scripts/setup on systems that are made up: what it installs, what it names, when it gives up. dpkg-query, apt-cache, apt-get,
# sudo and cmake are stand-ins that answer from two files, "package version" a line.
#   setup_test.sh SOURCE_DIRECTORY
set -euo pipefail
setup=$1/scripts/setup
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
export FOLDER=$folder
stand_in() { { echo '#!/bin/sh'; cat; } >"$folder/bin/$1"; chmod +x "$folder/bin/$1"; }
stand_in dpkg-query <<'EOS'
for package; do :; done
awk -v p="$package" '$1 == p { print "installed " $2; found = 1 } END { exit !found }' "$FOLDER/installed"
EOS
stand_in apt-cache <<'EOS'
awk -v p="$2" '$1 == p { v = $2 } END { print p ":"; print "  Candidate: " (v ? v : "(none)") }' "$FOLDER/offered"
EOS
stand_in apt-get <<'EOS'
echo "$@" >>"$FOLDER/calls"
EOS
stand_in sudo <<'EOS'
[ "$1" != -n ] || shift
exec "$@"
EOS
stand_in cmake <<'EOS'
cat "$FOLDER/cmake"
EOS
export PATH=$folder/bin:$PATH

failures=0
# Every package of Debian 13 that the build asks for is offered, none installed.
new_system() {
  : >"$folder/installed"
  : >"$folder/calls"
  echo 'cmake version 3.22.1' >"$folder/cmake"
  cat >"$folder/offered" <<'OFFERED'
g++ 4:14.2.0-1
make 4.4.1-2
cmake 3.31.6-2
ninja-build 1.12.1-1
ccache 4.11.2-2
pkg-config 1.8.1-4
git 1:2.47.3-0
libfmt-dev 10.1.1+ds1-4
nlohmann-json3-dev 3.11.3-2
zlib1g-dev 1:1.3.dfsg+really1.3.1-1
libonnx-dev 1.17.0-3
libprotobuf-dev 3.21.12-11
protobuf-compiler 3.21.12-11
libdnnl-dev 3.7.2+ds-1
libgtest-dev 1.16.0-1
libgmock-dev 1.16.0-1
libbenchmark-dev 1.9.2-1
python3-venv 3.13.5-1
libtorch-dev 2.6.0+dfsg-7
libgloo-dev 0.0~git20231202-2
libopenblas0-pthread 0.3.29+ds-3
clang 1:19.0-63
libclang-rt-19-dev 1:19.1.7-3
OFFERED
}
offer() { sed -i "/^$1 /d" "$folder/offered"; [ -z "${2:-}" ] || echo "$1 $2" >>"$folder/offered"; }
# NAME STATUS ARGUMENTS...: runs setup; what it says is in $said, what it asked apt-get for in $calls.
run() {
  name=$1
  local expected=$2 status=0
  shift 2
  said=$(bash "$setup" "$@" 2>&1) || status=$?
  calls=$(cat "$folder/calls")
  [ $status = "$expected" ] || wrong "ended with $status, not $expected"
}
wrong() { echo "$name: $1"; echo "  said:  $said"; echo "  calls: $calls"; failures=$((failures + 1)); }
says() { [[ $said == *"$1"* ]] || wrong "does not say: $1"; }
calls() { [[ $calls == *"$1"* ]] || wrong "does not call: $1"; }
calls_not() { [[ $calls != *"$1"* ]] || wrong "calls: $1"; }

new_system
run "everything is offered" 0 --sanitizers
calls "libtorch-dev libgloo-dev libopenblas0-pthread clang libclang-rt-19-dev"
[ -z "$(grep -v Installing <<<"$said")" ] || wrong "complains"

new_system
cp "$folder/offered" "$folder/installed"
run "everything is installed" 0 --sanitizers
[ -z "$said$calls" ] || wrong "does something"

new_system
offer libtorch-dev
offer libgloo-dev
run "the engine without LibTorch" 0 --engine-only
calls libonnx-dev
calls_not torch

new_system
offer libtorch-dev 1.8.1-3
offer libonnx-dev
run "an old LibTorch and no ONNX" 1
says "offers only libtorch-dev 1.8.1-3, and libtorch-dev 1.13 or newer is needed. Without it there is no calibration and training"
says "offers libonnx-dev not at all. Without it ONNX files cannot be read or written; install onnx 1.12"
calls_not install

new_system
offer libdnnl-dev
run "without oneDNN the build goes on" 0
says "configure with -DQDQBERT_WITH_ONEDNN=OFF"
calls libtorch-dev
calls_not libdnnl-dev

new_system
offer clang 1:14.0-55.7
offer libclang-rt-14-dev 1:14.0.6-12
run "the run-time library of the system's clang" 0 --sanitizers
calls "clang libclang-rt-14-dev"

new_system
offer clang 1:13.0-54
run "an old clang, whatever its epoch" 1 --sanitizers
says "offers only clang 1:13.0-54, and clang 14 or newer is needed. Without it there are no sanitizers and fuzz targets"

new_system
offer cmake 3.22.1-1
run "an old CMake" 1
says "offers only cmake 3.22.1-1, and cmake 3.25 or newer is needed"
echo 'cmake version 4.1.0' >"$folder/cmake"
run "a newer CMake from elsewhere" 0
calls libtorch-dev
calls_not "cmake "

new_system
run "a flag that it does not know" 2 --everything
says "usage: scripts/setup"

echo "$failures wrong"
exit $((failures > 0))

#!/bin/sh
# Fails when an object file compiled for an ISA defines a weak symbol: the linker may keep that copy for everybody, and a
# machine without the ISA would then die of an illegal instruction.
#   weak_symbols.sh BUILD_DIRECTORY
objects=$(find "$1/qdqbert" -name '*_avx2.cc.o' -o -name '*_avxvnni.cc.o' -o -name '*_avx512.cc.o' -o -name '*_avx512vnni.cc.o' -o -name '*_amxint8.cc.o')
[ -n "$objects" ] || { echo "no ISA-suffixed object file under $1/qdqbert"; exit 1; }
bad=0 count=0
for object in $objects; do
  count=$((count + 1))
  weak=$(nm -C "$object" | grep -E ' [WVu] ' | grep -v ' w ')
  if [ -n "$weak" ]; then
    echo "$object defines weak symbols:"; echo "$weak"; bad=1
  fi
done
echo "$count object files looked at"
exit $bad

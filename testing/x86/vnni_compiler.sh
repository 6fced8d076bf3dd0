#!/bin/sh
# g++, with an assembler that writes the instructions of AVX-VNNI in the encoding of AVX512-VNNI. They compute the same,
# and a processor may have only the latter.
exec g++ -B"$(dirname "$0")/vnni_assembler/" "$@"

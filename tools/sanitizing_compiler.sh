#!/bin/sh
# A C++ compiler for `make sanitize`: g++ with checks of each access to memory. The compiler itself runs without them.
exec env -u LD_PRELOAD g++ "$@" -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
    -fno-sanitize-recover=undefined

#!/bin/sh
# A C++ compiler for macOS on ARM that runs on other systems: Zig's Clang, which brings the headers of macOS.
# `$PYTHON -m ziglang` is Zig. It names processors in its own way.
for argument; do
    shift
    case $argument in
    -march=armv8.2-a*bf16*) argument=-mcpu=apple_m2 ;;
    -march=armv8.2-a*) argument=-mcpu=apple_m1 ;;
    esac
    set -- "$@" "$argument"
done
exec "${PYTHON:-python3}" -m ziglang c++ -target aarch64-macos.14.0 "$@"

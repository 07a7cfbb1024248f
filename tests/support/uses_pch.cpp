// uses_pch.cpp — the one source of quern_test_main that uses the precompiled header: CMake makes none without such a source.

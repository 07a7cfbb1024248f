// version.hpp — the version, read by CMakeLists.txt too.
#pragma once

#define QUERN_VERSION_MAJOR 0
#define QUERN_VERSION_MINOR 1
#define QUERN_VERSION_PATCH 0

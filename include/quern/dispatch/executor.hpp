// executor.hpp — core/executor.hpp, for those who look for it beside the pool: observers run on executors, too, and see core only.
#pragma once

#include "../core/executor.hpp"
